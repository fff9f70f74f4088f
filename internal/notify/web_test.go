package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWebhookIsSigned(t *testing.T) {
	var header http.Header
	var body []byte
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(status)
	}))
	defer server.Close()
	s := NewSender(server.Client())
	to := &Receiver{Kind: "webhook", URL: server.URL, Secret: "whsec_c2VjcmV0"}
	if err := s.Send(t.Context(), to, aMessage()); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	_, _ = io.WriteString(mac, header.Get("webhook-id")+"."+header.Get("webhook-timestamp")+"."+string(body))
	if got := header.Get("webhook-signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || header.Get("webhook-id") != aMessage().Delivery {
		t.Errorf("%s %v", got, header)
	}
	for code, gone := range map[int]bool{http.StatusGone: true, http.StatusTooManyRequests: false} {
		status = code
		var refused *Error
		if err := s.Send(t.Context(), to, aMessage()); !errors.As(err, &refused) || refused.Gone != gone || refused.After != 2*time.Minute || refused.Status != code {
			t.Errorf("%v", err)
		}
	}
}

// A redirect is a failure, and what it leads to is asked for nothing: it would be without
// the message.
func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := 0
	login := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer login.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusSeeOther, http.StatusTemporaryRedirect} {
		server := httptest.NewServer(http.RedirectHandler(login.URL, status))
		err := NewSender(http.DefaultClient).Send(t.Context(), &Receiver{Kind: "webhook", URL: server.URL}, aMessage())
		server.Close()
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), "redirects are not followed") || asked != 0 {
			t.Errorf("%d: %v; asked %d times", status, err, asked)
		}
	}
}
