// Package notify tells receivers of violations: it makes messages of them, and
// sends them as signed webhooks, mails, to chats, or as CloudEvents. What is to be
// told to whom, and that each is told once, is kept in package store; nothing here
// remembers anything.
package notify

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
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
	// Test tells that it only tries whether the receiver is reached.
	Test bool `json:"test,omitempty"`
}

// A Group is what a message says of one vulnerability, or of one rule, and one owner.
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
	// Now is time.Now by default.
	Now func() time.Time
}

// NewSender sends by a client, and dials SMTP servers as its transport dials, so that they
// are guarded likewise.
func NewSender(client *http.Client) *Sender {
	s := &Sender{Client: client}
	if t, ok := client.Transport.(*http.Transport); ok {
		s.Dial = t.DialContext
	}
	return s
}

// An Error is why a receiver did not take a message.
type Error struct {
	// Status of the answer: of HTTP, or of SMTP; 0 when there was none.
	Status int
	// After is how long the receiver asks to wait; 0 for nothing said.
	After time.Duration
	// Gone tells that the receiver wants no more.
	Gone   bool
	Reason string
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

// maxShown bounds the groups of a message to people; the rest is counted.
const maxShown = 20

// show is a message as people read it: what is there, and how much is left out.
func show(m *Message) (groups []shown, more int) {
	for i := range m.Groups {
		if i == maxShown {
			return groups, len(m.Groups) - maxShown
		}
		g := &m.Groups[i]
		s := shown{Head: g.Vulnerability, Text: plain(g.Message)}
		if s.Head == "" {
			s.Head = g.Policy + ": " + g.Rule
		}
		s.Head = plain(s.Head) + " · " + plain(g.Severity) + " · " + plain(g.Decision)
		if g.Owner != "" {
			s.Head += " · " + plain(g.Owner)
		}
		names := make([]string, len(g.Images))
		for i, n := range g.Images {
			names[i] = plain(n)
		}
		s.Images = fmt.Sprintf("%d images: %s", g.ImageCount, strings.Join(names, ", "))
		if rest := g.ImageCount - len(names); rest > 0 && len(names) > 0 {
			s.Images += fmt.Sprintf(" and %d more", rest)
		}
		groups = append(groups, s)
	}
	return groups, 0
}

func moreText(more int) string {
	if more == 0 {
		return ""
	}
	return fmt.Sprintf("and %d more", more)
}
