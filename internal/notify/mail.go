package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html/template"
	"net"
	"strings"
	"time"

	mail "github.com/wneessen/go-mail"
)

const mailPage = `<!DOCTYPE html>
<html><body style="font-family:sans-serif"><h2>{{.Title}}</h2>
{{range .Groups}}<h3>{{.Head}}</h3><p>{{.Text}}</p><p>{{.Images}}</p>
{{end}}{{with .More}}<p>{{.}}</p>{{end}}{{with .Link}}<p><a href="{{.}}">Open Strata</a></p>{{end}}</body></html>
`

// sendMail sends a mail of text and HTML to a receiver's addresses.
func (s *Sender) sendMail(ctx context.Context, r *Receiver, m *Message) error {
	msg, err := s.mailOf(r, m)
	if err != nil {
		return err
	}
	client, err := s.mailClient(r)
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		var refused *mail.SendError
		if errors.As(err, &refused) {
			return &Error{Status: refused.ErrorCode(), Reason: err.Error()}
		}
		return fmt.Errorf("mail by %s: %w", r.Host, err)
	}
	return nil
}

// mailOf writes the mail. What goes into headers has no line ends (plain), and its id is
// that of the delivery, by which a second one is known.
func (s *Sender) mailOf(r *Receiver, m *Message) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(r.From), msg.To(r.To...)); err != nil {
		return nil, &Error{Reason: err.Error()}
	}
	title := "[Strata] " + plain(m.Title)
	msg.Subject(title)
	msg.SetDateWithValue(m.At)
	msg.SetMessageIDWithValue(m.Delivery + "@strata")
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	groups, more := show(m)
	var text, html strings.Builder
	text.WriteString(title + "\n")
	for _, g := range groups {
		text.WriteString("\n" + g.Head + "\n" + g.Text + "\n" + g.Images + "\n")
	}
	text.WriteString("\n" + moreText(more) + "\n" + m.Link + "\n")
	page, err := template.New("mail").Parse(mailPage)
	if err != nil {
		return nil, err
	}
	if err := page.Execute(&html, map[string]any{"Title": title, "Groups": groups, "More": moreText(more), "Link": m.Link}); err != nil {
		return nil, err
	}
	msg.SetBodyString(mail.TypeTextPlain, text.String())
	msg.AddAlternativeString(mail.TypeTextHTML, html.String())
	return msg, nil
}

func (s *Sender) mailClient(r *Receiver) (*mail.Client, error) {
	const patience = 30 * time.Second
	options := []mail.Option{mail.WithTimeout(patience), mail.WithHELO("strata")}
	port := 587
	switch r.TLS {
	case "tls":
		port = 465
		options = append(options, mail.WithSSL())
	case "none":
		port = 25
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if r.Port != 0 {
		port = r.Port
	}
	options = append(options, mail.WithPort(port))
	if r.Username != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(r.Username), mail.WithPassword(r.Secret))
	}
	if s.Dial != nil {
		options = append(options, mail.WithDialContextFunc(s.dialMail(r)))
	}
	return mail.NewClient(r.Host, options...)
}

// dialMail dials by the sender's Dial, and speaks TLS at once where the receiver does: a
// dial function takes the place of the client's own TLS.
func (s *Sender) dialMail(r *Receiver) mail.DialContextFunc {
	if r.TLS != "tls" {
		return s.Dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := s.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(plain, &tls.Config{ServerName: r.Host, MinVersion: tls.VersionTLS12})
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, plain.Close())
		}
		return conn, nil
	}
}
