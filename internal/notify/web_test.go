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

func testMessage() *Message {
	return &Message{Delivery: "d-1", At: time.Unix(1e9, 0), Title: "CVE-1\r\nBcc: x@evil.example", Link: "https://strata.example", Groups: []Group{{
		Vulnerability: "CVE-1", Severity: "high", Decision: "fail", Owner: "<!channel>", Message: "[x](http://evil.example) <b>&", Images: []string{"hub/a\u202e:1\n"}, ImageCount: 30,
	}}}
}

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
	if err := s.Send(t.Context(), to, testMessage()); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("secret"))
	_, _ = io.WriteString(mac, header.Get("webhook-id")+"."+header.Get("webhook-timestamp")+"."+string(body))
	if got := header.Get("webhook-signature"); got != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || header.Get("webhook-id") != "d-1" {
		t.Errorf("%s %v", got, header)
	}
	for code, gone := range map[int]bool{http.StatusGone: true, http.StatusTooManyRequests: false} {
		status = code
		var refused *Error
		if err := s.Send(t.Context(), to, testMessage()); !errors.As(err, &refused) || refused.Gone != gone || refused.After != 2*time.Minute || refused.Status != code {
			t.Errorf("%v", err)
		}
	}
}

func TestChatsAreEscaped(t *testing.T) {
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}))
	defer server.Close()
	s := NewSender(server.Client())
	for kind, wants := range map[string][]string{"slack": {`"type":"plain_text"`, "and 29 more"}, "teams": {`"type":"TextRun"`, "and 29 more"}} {
		if err := s.Send(t.Context(), &Receiver{Kind: kind, Secret: server.URL}, testMessage()); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", kind, want, body)
			}
		}
		if strings.Contains(body, "\u202e") || strings.Contains(body, `"TextBlock"`) {
			t.Errorf("%s: %s", kind, body)
		}
	}
	if err := s.Send(t.Context(), &Receiver{Kind: "cloudevents", URL: server.URL}, testMessage()); err != nil || !strings.Contains(body, `"specversion":"1.0"`) || !strings.Contains(body, `"id":"d-1"`) {
		t.Errorf("%v %s", err, body)
	}
}

func TestMailHeaders(t *testing.T) {
	s := NewSender(http.DefaultClient)
	msg, err := s.mailOf(&Receiver{From: "strata@a.example", To: []string{"ann@a.example"}}, testMessage())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := msg.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\nBcc:") || strings.Contains(b.String(), "<p>[x](http://evil.example) <b>") || !strings.Contains(b.String(), "d-1@strata") {
		t.Error(b.String())
	}
}
