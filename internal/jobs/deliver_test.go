package jobs

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"strata/internal/notify"
	"strata/internal/store"
)

// A hook is a receiver of webhooks that refuses the first, and checks the signature of all.
type hook struct {
	// refuse is negative to refuse none.
	refuse int
	mu     sync.Mutex
	ids    []string
	bodies []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte("secret"))
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("webhook-signature") != want {
		http.Error(w, "wrong signature", http.StatusForbidden)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, r.Header.Get("webhook-id"))
	h.bodies = append(h.bodies, string(body))
	if len(h.ids) == 1 && h.refuse >= 0 {
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
}

// A mailServer speaks as much SMTP (RFC 5321) as it takes to get mails.
type mailServer struct {
	port  int
	mu    sync.Mutex
	rcpt  []string
	mails []string
}

func startMailServer(t *testing.T) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &mailServer{}
	s.port, _ = strconv.Atoi(port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.talk(c)
		}
	}()
	return s
}

func (s *mailServer) talk(c net.Conn) {
	defer c.Close()
	in := bufio.NewScanner(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 mail.example")
	for in.Scan() {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		s.mu.Lock()
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.example\r\n250 8BITMIME")
		case "RCPT":
			s.rcpt = append(s.rcpt, rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for in.Scan() && in.Text() != "." {
				text.WriteString(in.Text() + "\n")
			}
			s.mails = append(s.mails, text.String())
			say("250 taken")
		case "QUIT":
			say("221 bye")
			s.mu.Unlock()
			return
		default:
			say("250 ok")
		}
		s.mu.Unlock()
	}
}

// What violates a policy is told to the watch's receivers, to whom the rule names, and
// to the owner; what is refused is sent again under the same id, and all of it once.
func TestDeliver(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		hooks := &hook{}
		server := httptest.NewServer(hooks)
		defer server.Close()
		mails := startMailServer(t)
		secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("secret"))
		for _, r := range []struct {
			store.Receiver
			secret *string
		}{
			{store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}}, &secret},
			{store.Receiver{Name: "mail", Kind: "email", Settings: store.ReceiverSettings{Host: "127.0.0.1", Port: mails.port, TLS: "none", From: "strata@example.org", To: []string{"all@example.org"}}}, nil},
		} {
			if err := c.db.PutReceiver(t.Context(), &r.Receiver, r.secret); err != nil {
				t.Fatal(err)
			}
		}
		c.document(store.PolicyDocument, "no-lodash", strings.Replace(noLodash, "action: fail\n", "action: fail\n    receivers: [mail]\n", 1))
		if err := c.db.PutWatch(t.Context(), &store.Watch{Name: "all", Policies: []string{"no-lodash"}, Receivers: []string{"hook"}}); err != nil {
			t.Fatal(err)
		}
		c.put("r.example/team-a/web:1", lodashPicture)
		c.judge()
		work := DeliverWork(DeliverOptions{DB: c.db, Sender: notify.NewSender(http.DefaultClient), PublicURL: "https://strata.example", Settle: time.Millisecond})
		deliver := func(later time.Duration) {
			t.Helper()
			c.now = c.now.Add(later)
			for range 2 { // routed, and then due
				if err := work.Do(t.Context(), ""); err != nil {
					t.Fatal(err)
				}
				c.now = c.now.Add(time.Second)
			}
		}
		deliver(time.Minute)
		if len(hooks.ids) != 1 || len(mails.mails) != 1 {
			all, _ := c.db.Notifications(t.Context(), "", 0, 10)
			t.Fatalf("%d webhooks, %d mails: %+v", len(hooks.ids), len(mails.mails), all)
		}
		if at := time.Now().Add(time.Hour); c.now.Before(at) { // it is sent again by the clock of the machine
			c.now = at
		}
		deliver(time.Hour)
		deliver(24 * time.Hour)
		if len(hooks.ids) != 2 || hooks.ids[0] != hooks.ids[1] || hooks.bodies[0] != hooks.bodies[1] {
			t.Errorf("ids %v; want the same one twice, with the same body", hooks.ids)
		}
		if !strings.Contains(hooks.bodies[0], "lodash") || !strings.Contains(hooks.bodies[0], "r.example/team-a/web:1") {
			t.Errorf("body: %s", hooks.bodies[0])
		}
		if len(mails.mails) != 1 || !slices.Equal(mails.rcpt, []string{"TO:<all@example.org>"}) || !strings.Contains(mails.mails[0], "lodash") || !strings.Contains(mails.mails[0], "Auto-Submitted: auto-generated") {
			t.Errorf("to %v: %v", mails.rcpt, mails.mails)
		}
		sent, err := c.db.Notifications(t.Context(), "sent", 0, 10)
		if err != nil || len(sent) != 2 {
			t.Errorf("sent %+v, %v", sent, err)
		}
	})
}

// A receiver that is gone is paused, and is sent nothing more.
func TestDeliverToTheGone(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusGone)
	}))
	defer server.Close()
	secret := "whsec_c2VjcmV0"
	if err := c.db.PutReceiver(t.Context(), &store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}}, &secret); err != nil {
		t.Fatal(err)
	}
	c.document(store.PolicyDocument, "no-lodash", noLodash)
	if err := c.db.PutWatch(t.Context(), &store.Watch{Name: "all", Policies: []string{"no-lodash"}, Receivers: []string{"hook"}}); err != nil {
		t.Fatal(err)
	}
	c.put("r.example/team-a/web:1", lodashPicture)
	c.judge()
	work := DeliverWork(DeliverOptions{DB: c.db, Sender: notify.NewSender(http.DefaultClient), Settle: time.Millisecond})
	for range 4 {
		if err := work.Do(context.Background(), ""); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(24 * 30 * time.Hour)
	}
	r, err := c.db.ReceiverNamed(t.Context(), "hook")
	if err != nil || !r.Paused || asked != 1 {
		t.Errorf("paused %v, asked %d times: %v", r.Paused, asked, err)
	}
}
