package jobs

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// taken are the ids and bodies so far, also while another process sends.
func (h *hook) taken() (ids, bodies []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ids), slices.Clone(h.bodies)
}

// A mailServer speaks as much SMTP (RFC 5321) as it takes to get mails.
type mailServer struct {
	port int
	// answers to recipients that are not taken, each given once for a 4yz.
	answers map[string]string
	mu      sync.Mutex
	rcpt    []string
	mails   []string
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
			answer := s.answers[rest]
			if answer == "" {
				answer = "250 ok"
			}
			if answer[0] == '4' {
				delete(s.answers, rest)
			}
			say(answer)
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

func (c *courtTest) receiver(r *store.Receiver) {
	c.t.Helper()
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("secret"))
	if err := c.db.PutReceiver(c.t.Context(), r, &secret); err != nil {
		c.t.Fatal(err)
	}
}

// watch watches all images by a policy.
func (c *courtTest) watch(policy string, receivers ...string) {
	c.t.Helper()
	if err := c.db.PutWatch(c.t.Context(), &store.Watch{Name: "all", Policies: []string{policy}, Receivers: receivers}); err != nil {
		c.t.Fatal(err)
	}
}

// forbid is a rule against packages of a name.
func forbid(name string) string {
	return "  - name: " + name + "\n    when: package.name == \"" + name + "\"\n    action: fail\n"
}

// deliver routes what is new, and sends what is due a second later.
func (c *courtTest) deliver(o DeliverOptions) {
	c.t.Helper()
	o.DB, o.Settle = c.db, time.Microsecond
	if o.Sender == nil {
		o.Sender = notify.NewSender(http.DefaultClient)
	}
	for range 2 {
		if err := DeliverWork(o).Do(c.t.Context(), ""); err != nil {
			c.t.Fatal(err)
		}
		c.now = c.now.Add(time.Second)
	}
}

func (c *courtTest) all() []store.Notification {
	c.t.Helper()
	all, err := c.db.Notifications(c.t.Context(), "", 0, 100)
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// notifications are told by receiver, recipient, state, attempts and error.
func (c *courtTest) notifications() []string {
	c.t.Helper()
	port := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	out := []string{}
	for _, n := range c.all() {
		text := fmt.Sprintf("%s %s %s %d %s", n.ReceiverName, n.Recipient, n.State, n.Attempts, n.Error)
		out = append(out, strings.TrimSpace(port.ReplaceAllString(text, "127.0.0.1")))
	}
	slices.Sort(out)
	return out
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
		mails.answers = map[string]string{"TO:<left@example.org>": "550 no such user", "TO:<later@example.org>": "450 greylisted"}
		c.receiver(&store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}})
		c.receiver(&store.Receiver{Name: "mail", Kind: "email", Settings: store.ReceiverSettings{
			Host: "127.0.0.1", Port: mails.port, TLS: "none", From: "strata@example.org", To: []string{"all@example.org", "left@example.org", "later@example.org"},
		}})
		c.document(store.PolicyDocument, "no-lodash", strings.Replace(noLodash, "action: fail\n", "action: fail\n    receivers: [mail]\n", 1))
		c.watch("no-lodash", "hook")
		c.put("r.example/team-a/web:1", lodashPicture)
		c.judge()
		deliver := func(later time.Duration, want ...string) {
			t.Helper()
			c.now = c.now.Add(later)
			c.deliver(DeliverOptions{PublicURL: "https://strata.example"})
			got := c.notifications()
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], " mail by") // what the library says besides
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		const busy = "hook  due 1 127.0.0.1 answered 503 Service Unavailable: not now�"
		deliver(time.Minute, busy, "mail all@example.org sent 1", "mail later@example.org due 1", "mail left@example.org failed 1")
		deliver(20*time.Second, busy, "mail all@example.org sent 1", "mail later@example.org due 1", "mail left@example.org failed 1")
		deliver(time.Hour, "hook  sent 2", "mail all@example.org sent 1", "mail later@example.org sent 2", "mail left@example.org failed 1")
		deliver(240*time.Hour, "hook  sent 2", "mail all@example.org sent 1", "mail later@example.org sent 2", "mail left@example.org failed 1")
		if len(hooks.ids) != 2 || hooks.ids[0] != hooks.ids[1] || hooks.bodies[0] != hooks.bodies[1] {
			t.Errorf("ids %v; want the same one twice, with the same body", hooks.ids)
		}
		if !strings.Contains(hooks.bodies[0], "lodash") || !strings.Contains(hooks.bodies[0], "r.example/team-a/web:1") {
			t.Errorf("body: %s", hooks.bodies[0])
		}
		if len(mails.mails) != 2 || !strings.Contains(mails.mails[0], "lodash") || !strings.Contains(mails.mails[1], "Auto-Submitted: auto-generated") {
			t.Errorf("to %v: %v", mails.rcpt, mails.mails)
		}
	})
}

// A receiver that is gone is paused, and what is for it waits until it is written anew.
func TestDeliverToTheGone(t *testing.T) {
	c := newCourtTest(t, t.TempDir()+"/strata.db")
	var asked []string
	status := http.StatusGone
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("webhook-id"))
		w.WriteHeader(status)
	}))
	defer server.Close()
	hook := store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}}
	c.receiver(&hook)
	c.document(store.PolicyDocument, "no-lodash", noLodash)
	c.watch("no-lodash", "hook")
	c.put("r.example/team-a/web:1", lodashPicture)
	c.judge()
	for range 3 {
		c.deliver(DeliverOptions{})
		c.now = c.now.Add(24 * 30 * time.Hour)
	}
	r, err := c.db.ReceiverNamed(t.Context(), "hook")
	if err != nil || !r.Paused || len(asked) != 1 {
		t.Errorf("paused %v, asked %d times: %v", r.Paused, len(asked), err)
	}
	status = http.StatusOK
	c.receiver(&hook)
	c.deliver(DeliverOptions{})
	if got := c.notifications(); len(asked) != 2 || asked[1] != asked[0] || got[0] != "hook  sent 2" {
		t.Errorf("asked %v; %v", asked, got)
	}
}

// A slowReceiver answers only when another has got everything; then, never.
type slowReceiver struct {
	told  chan struct{}
	hangs atomic.Bool
	// came is called when it hangs.
	came func()
}

func (s *slowReceiver) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if s.hangs.Load() {
		s.came()
		<-r.Context().Done()
		return
	}
	select {
	case <-s.told:
	case <-r.Context().Done():
	}
}

// A receiver that is slow holds up no other. One that never answers is left, and the rest of
// what is for it need not find out. When the server stops meanwhile, that is no failure, and
// it is sent again at once.
func TestSlowReceiver(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		stop, stopped := context.WithCancel(t.Context())
		defer stopped()
		var stops atomic.Bool
		slow := &slowReceiver{told: make(chan struct{}), came: func() {
			if stops.Load() {
				stopped()
			}
		}}
		var told atomic.Int32
		for name, handler := range map[string]http.Handler{"slow": slow, "quick": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if told.Add(1) == 3 {
				close(slow.told)
			}
		})} {
			server := httptest.NewServer(handler)
			defer server.Close()
			c.receiver(&store.Receiver{Name: name, Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL}})
		}
		c.document(store.PolicyDocument, "nothing", "name: nothing\nrules:\n"+forbid("lodash")+forbid("other")+forbid("third"))
		c.watch("nothing", "quick", "slow")
		want := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, c.notifications()); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		c.put("r.example/a/web:1", lodashPicture+otherPicture+strings.ReplaceAll(otherPicture, "other", "third"))
		c.judge()
		c.deliver(DeliverOptions{})
		sent := append(slices.Repeat([]string{"quick  sent 1"}, 3), slices.Repeat([]string{"slow  sent 1"}, 3)...)
		want(sent...)

		slow.hangs.Store(true)
		c.watch("nothing", "slow")
		c.put("r.example/a/api:1", lodashPicture+otherPicture)
		c.judge()
		c.deliver(DeliverOptions{Patience: 300 * time.Millisecond})
		c.deliver(DeliverOptions{Patience: time.Hour})
		want(slices.Concat(sent[:3], []string{"slow  due 0", "slow  due 1 request to 127.0.0.1: context deadline exceeded"}, sent[3:])...)

		stops.Store(true)
		c.now = c.now.Add(time.Minute)
		work := DeliverWork(DeliverOptions{DB: c.db, Sender: notify.NewSender(http.DefaultClient)})
		if err := work.Do(stop, ""); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		want(slices.Concat(sent[:3], []string{"slow  due 0", "slow  due 2 broken off"}, sent[3:])...)
		for _, n := range c.all() {
			if n.State == "due" && n.DueAt.After(c.now) {
				t.Errorf("%s waits", n.Delivery)
			}
		}
	})
}

// A digest tells at its hour, of whoever's day, what came since the one before: once what
// comes and goes till then, and anew what comes back later. Sent once more it is the same.
func TestDigest(t *testing.T) {
	onEngines(t, func(t *testing.T, location string) {
		c := newCourtTest(t, location)
		hooks := &hook{refuse: -1}
		server := httptest.NewServer(hooks)
		defer server.Close()
		c.receiver(&store.Receiver{Name: "hook", Kind: "webhook", Settings: store.ReceiverSettings{URL: server.URL, Schedule: "daily 08:00 Asia/Tokyo"}})
		c.document(store.PolicyDocument, "nothing", "name: nothing\nrules:\n"+forbid("lodash"))
		c.watch("nothing", "hook")
		c.put("r.example/a/web:1", lodashPicture)
		c.judge()
		at := func(clock string, sent int) {
			t.Helper()
			var err error
			if c.now, err = time.Parse(time.RFC3339, clock); err != nil {
				t.Fatal(err)
			}
			c.deliver(DeliverOptions{})
			if len(hooks.ids) != sent {
				t.Fatalf("%s: %d sent; want %d", clock, len(hooks.ids), sent)
			}
		}
		comeBack := func() {
			for _, rule := range []string{forbid("nobody"), forbid("lodash")} {
				c.document(store.PolicyDocument, "nothing", "name: nothing\nrules:\n"+rule)
				c.judge()
			}
			if n := len(c.lines(false)); n != 1 {
				t.Fatalf("%d violations", n)
			}
		}
		at("2026-11-01T12:00:00Z", 0) // 21:00 there
		comeBack()
		at("2026-11-01T22:59:00Z", 0)
		at("2026-11-01T23:00:00Z", 1) // 08:00 of the next day
		at("2026-11-02T23:00:00Z", 1) // nothing new
		comeBack()
		at("2026-11-03T00:01:00Z", 1)
		at("2026-11-03T23:00:00Z", 2)
		if err := c.db.ResendNotification(t.Context(), c.all()[1].ID); err != nil {
			t.Fatal(err)
		}
		at("2026-11-03T23:01:00Z", 3)
		if hooks.ids[0] == hooks.ids[1] || hooks.ids[2] != hooks.ids[0] || hooks.bodies[2] != hooks.bodies[0] {
			t.Errorf("ids %v", hooks.ids)
		}
		if diff := cmp.Diff([]string{"hook  sent 1", "hook  sent 2"}, c.notifications()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for i, id := range hooks.ids {
			if diff := cmp.Diff([]string{"lodash a/web"}, told(t, map[string]string{id: hooks.bodies[i]})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
}
