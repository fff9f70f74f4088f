// Package notify tells receivers of violations: it makes messages of them, and
// sends them as signed webhooks, mails, to chats, or as CloudEvents. What is to be
// told to whom, and that each is told once, is kept in package store; nothing here
// remembers anything.
package notify

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
)

// A Message is what a receiver is told.
type Message struct {
	// Delivery is its id, the same for each attempt.
	Delivery string    `json:"delivery"`
	At       time.Time `json:"at"`
	Title    string    `json:"title"`
	// Link to the server; empty for not known.
	Link   string  `json:"link,omitempty"`
	Groups []Group `json:"groups"`
	// More is how many groups are left out, as the message would be too long.
	More int `json:"more,omitempty"`
	// Test tells that it only tries whether the receiver is reached.
	Test bool `json:"test,omitempty"`
}

// A Group is what a message says of one vulnerability, or of one rule where there is none,
// and one owner of repositories.
type Group struct {
	Vulnerability string `json:"vulnerability,omitempty"`
	Policy        string `json:"policy"`
	Rule          string `json:"rule"`
	Owner         string `json:"owner,omitempty"`
	Severity      string `json:"severity"`
	Decision      string `json:"decision"`
	Message       string `json:"message"`
	// Images are the first names, of ImageCount images.
	Images     []string `json:"images"`
	ImageCount int      `json:"image_count"`
	Packages   []string `json:"packages,omitempty"`
	Watches    []string `json:"watches"`
}

// A Receiver is who is told, and how.
type Receiver struct {
	// Kind is "webhook", "cloudevents", "email", "slack" or "teams".
	Kind string
	URL  string
	// Secret of a webhook, password of SMTP, or the address of a chat.
	Secret   string
	Host     string
	Port     int
	TLS      string
	Username string
	From     string
	To       []string
}

// A Sender sends messages.
type Sender struct {
	// Client makes the requests; it decides which addresses may be asked.
	Client *http.Client
	// Dial connects to SMTP servers, likewise; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Roots are who signs certificates of SMTP servers; nil is the system's.
	Roots *x509.CertPool
	// Now is time.Now by default.
	Now func() time.Time
}

// NewSender sends by a client, and dials SMTP servers as its transport dials, so that they
// are guarded likewise. It follows no redirect: one would make a request without a body of
// a message, and what answers that has not got it.
func NewSender(client *http.Client) *Sender {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &Sender{Client: &own}
	if t, ok := client.Transport.(*http.Transport); ok {
		s.Dial = t.DialContext
		if t.TLSClientConfig != nil {
			s.Roots = t.TLSClientConfig.RootCAs
		}
	}
	return s
}

// An Error is why a receiver did not take a message.
type Error struct {
	// Status of the answer: of HTTP, or of SMTP; 0 when there was none.
	Status int
	// After is how long the receiver asks to wait; 0 for nothing said.
	After time.Duration
	// Gone tells that the receiver takes nothing until it is written anew: it wants no more,
	// or not with this user and password.
	Gone bool
	// Permanent tells that it won't take this message in another attempt, either.
	Permanent bool
	Reason    string
}

func (e *Error) Error() string { return e.Reason }

// Send sends a message; the error is an *Error where the receiver answered.
func (s *Sender) Send(ctx context.Context, r *Receiver, m *Message) error {
	switch r.Kind {
	case "webhook":
		return s.sendWebhook(ctx, r, m)
	case "cloudevents":
		return s.sendCloudEvent(ctx, r, m)
	case "slack":
		return s.post(ctx, r.Secret, "application/json", slackBody(m), nil)
	case "teams":
		return s.post(ctx, r.Secret, "application/json", teamsBody(m), nil)
	case "email":
		return s.sendMail(ctx, r, m)
	}
	return fmt.Errorf("receiver: no kind %q", r.Kind)
}

func (s *Sender) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// plain is a text that people see: images name what they like, so that what controls
// the terminal, the line or the direction of writing is replaced, and its length bounded.
func plain(text string) string {
	const most = 300
	var b strings.Builder
	n := 0
	for _, c := range text {
		if n++; n > most {
			b.WriteRune('…')
			break
		}
		if unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			c = unicode.ReplacementChar
		}
		b.WriteRune(c)
	}
	return b.String()
}

// A shown is a group as people read it.
type shown struct{ Head, Text, Images string }

// size is of its JSON, with room for what is around it.
func (s *shown) size() int {
	const around = 400
	text, _ := json.Marshal(s) // it never fails
	return len(text) + around
}

// Bounds of messages to people: of their groups, and of the names of one; the rest is
// counted.
const (
	maxShown = 20
	maxNames = 1500
)

// maxChat bounds the messages to chats, in bytes: Teams takes 28 KB.
const maxChat = 24 << 10

// show is a message as people read it, of at most so many bytes of JSON (0 for any
// number): what is there, and how much is left out.
func show(m *Message, most int) (groups []shown, more int) {
	size := 0
	for i := range m.Groups {
		s := showGroup(&m.Groups[i])
		size += s.size()
		if i == maxShown || most > 0 && size > most {
			return groups, len(m.Groups) - i + m.More
		}
		groups = append(groups, s)
	}
	return groups, m.More
}

func showGroup(g *Group) shown {
	s := shown{Head: plain(cmp.Or(g.Vulnerability, g.Policy+": "+g.Rule)), Text: plain(g.Message)}
	s.Head += " · " + plain(g.Severity) + " · " + plain(g.Decision)
	if g.Owner != "" {
		s.Head += " · " + plain(g.Owner)
	}
	s.Images = "1 image"
	if g.ImageCount != 1 {
		s.Images = fmt.Sprintf("%d images", g.ImageCount)
	}
	listed := 0
	for between := ": "; listed < len(g.Images) && len(s.Images) < maxNames; between = ", " {
		s.Images += between + plain(g.Images[listed])
		listed++
	}
	if rest := g.ImageCount - listed; rest > 0 && listed > 0 {
		s.Images += fmt.Sprintf(" and %d more", rest)
	}
	return s
}

func moreText(more int) string {
	if more == 0 {
		return ""
	}
	return fmt.Sprintf("and %d more", more)
}

// shorten cuts a text to so many units of UTF-16, as chats count.
func shorten(s string, most int) string {
	n := 0
	for i, c := range s {
		if n += utf16.RuneLen(c); n > most {
			return s[:i] + "…"
		}
	}
	return s
}
