package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A request is sent again when the connection breaks, or the answer says that another
// time may be better; never for another reason, and not for ever.
func TestSendAgain(t *testing.T) {
	const reset = 0
	for name, tt := range map[string]struct {
		answers []int
		asked   int
		wantErr string
	}{
		"at once":           {[]int{200}, 1, ""},
		"stopped instances": {[]int{503, reset, 502, 429, 504, 200}, 6, ""},
		"down for long":     {[]int{503}, 6, "503"},
		"broken for long":   {[]int{reset}, 6, "the connection broke"},
		"refused":           {[]int{503, 403}, 2, "403"},
		"a mistake of ours": {[]int{500}, 1, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				status := tt.answers[min(int(asked.Add(1)), len(tt.answers))-1]
				if status == reset {
					panic(http.ErrAbortHandler)
				}
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"ok": true}`)
			}))
			defer s.Close()
			u, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			to := &submitter{base: u, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, backoff: time.Millisecond}
			var out struct{ OK bool }
			err = to.send(t.Context(), http.MethodPost, "api/v1/submissions", "application/json", []byte("{}"), &out)
			if tt.wantErr == "" && (err != nil || !out.OK) || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) || int(asked.Load()) != tt.asked {
				t.Errorf("asked %d times, want %d: %v", asked.Load(), tt.asked, err)
			}
		})
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-7": 0, "Thu, 01 Jan 2026 00:01:00 GMT": time.Minute, "Thu, 01 Jan 2020 00:01:00 GMT": 0, "soon": 0} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A server whose certificate is of an authority of one's own is told with the way out.
func TestSendToUnknownAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	to := &submitter{base: u, http: &http.Client{}, backoff: time.Millisecond}
	if err := to.send(t.Context(), http.MethodGet, "api/v1/me", "", nil, nil); err == nil || !strings.Contains(err.Error(), "--ca-file") {
		t.Errorf("%v", err)
	}
}
