package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/event"
	"strata/internal/store"
)

// errHook is the one answer to a sender that may not, whatever the reason: no such
// registry, none that takes notifications, another secret.
func errHook() error {
	return huma.Error401Unauthorized("there is no such registry, or this is not the secret of its notifications")
}

// authenticHook is the registry that a request is about, when the sender knows its
// secret.
func (s *Server) authenticHook(r *http.Request, body []byte) (*hookedRegistry, error) {
	reg, err := s.hooked(r.Context(), r.PathValue("registry"))
	switch {
	case errors.Is(err, store.ErrNotFound):
		reg = &hookedRegistry{}
	case err != nil:
		return nil, err
	}
	secret := reg.Secret
	if secret == "" {
		secret = rand.Text() // none that anyone knows: the same work as for others
	}
	if !knowsSecret(r, body, secret) || reg.Secret == "" {
		return nil, errHook()
	}
	return reg, nil
}

// knowsSecret tells whether a sender proves to know the secret, in one of the ways in
// which one of them can: a signature (GitHub), an Authorization header that is the
// secret, bears it, or has it as password, or the parameter "token" of the URL, for
// those that can do nothing else (Docker Hub, Quay, Pub/Sub). Where there is a
// signature, it must be right.
func knowsSecret(r *http.Request, body []byte, secret string) bool {
	if signature := r.Header.Get("X-Hub-Signature-256"); signature != "" {
		return validSignature(signature, body, secret)
	}
	known := sameSecret(r.URL.Query().Get("token"), secret)
	header := r.Header.Get("Authorization")
	known = sameSecret(header, secret) || known
	if scheme, bearer, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		known = sameSecret(strings.TrimSpace(bearer), secret) || known
	}
	if _, password, ok := r.BasicAuth(); ok {
		known = sameSecret(password, secret) || known
	}
	return known
}

// validSignature checks the HMAC of a body.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func validSignature(header string, body []byte, secret string) bool {
	text, ok := strings.CutPrefix(header, "sha256=")
	if !ok {
		return false
	}
	got, err := hex.DecodeString(text)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}

// sameSecret compares in a time that tells nothing, not even of the length.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// handshake answers a sender that asks for one before it sends: Azure by the code that
// it sent, SNS by visiting its URL. done tells that there is nothing else to do.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, body []byte) (done bool, err error) {
	h, ok, err := event.ReadHandshake(r.Header, body)
	if err != nil {
		s.o.Log.WarnContext(r.Context(), "subscription refused", "registry", r.PathValue("registry"), "error", err)
		return true, huma.Error400BadRequest(err.Error())
	}
	if !ok {
		return false, nil
	}
	if h.SubscribeURL != "" {
		if err := s.visit(r.Context(), h.SubscribeURL); err != nil {
			// Who has set it up can confirm by hand, and SNS asks again.
			s.o.Log.WarnContext(r.Context(), "subscription not confirmed: visit its URL", "topic", h.Topic, "url", h.SubscribeURL, "error", err)
			return true, huma.Error502BadGateway("the subscription could not be confirmed; the log has its URL", err)
		}
		s.o.Log.InfoContext(r.Context(), "subscription confirmed", "topic", h.Topic)
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"validationResponse": h.ValidationCode})
	return true, nil
}

// visit confirms a subscription of SNS. ReadHandshake has made sure that the URL is
// one of SNS; redirects would lead elsewhere.
func (s *Server) visit(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: s.visitTransport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("SNS answers with %s", res.Status)
	}
	return nil
}

// greetCloudEvents answers the question that senders of CloudEvents put before the
// first one (HTTP 1.1 Web Hooks for Event Delivery, section 4: Abuse Protection).
func (s *Server) greetCloudEvents(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("WebHook-Request-Origin")
	if _, err := s.authenticHook(r, nil); err != nil {
		s.answer(w, r, s.fail(r.Context(), err))
		return
	}
	if origin == "" {
		s.answer(w, r, huma.Error400BadRequest("the header WebHook-Request-Origin is missing"))
		return
	}
	w.Header().Set("WebHook-Allowed-Origin", origin)
	w.Header().Set("WebHook-Allowed-Rate", "*")
	w.Header().Set("Allow", "POST, OPTIONS")
	w.WriteHeader(http.StatusOK)
}
