package notify

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/textproto"
	"slices"
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
	client, err := s.mailClient(ctx, r)
	if err != nil {
		return err
	}
	err = client.DialAndSendWithContext(ctx, msg)
	if err == nil || msg.IsDelivered() { // what fails once it was taken, as its goodbye, is no failure
		return nil
	}
	return mailError(ctx, r.Host, err)
}

// mailTitle is the subject: what it is about and in which image, where it is about one thing.
// It has no encoded word (RFC 2047) of its own, which would be
// decoded to whatever it likes.
func mailTitle(m *Message) string {
	title := m.Title
	if len(m.Groups) == 1 && m.More == 0 && !m.Test && len(m.Groups[0].Images) > 0 {
		g := &m.Groups[0]
		title = fmt.Sprintf("%s (%s) in %s", cmp.Or(g.Vulnerability, g.Policy+": "+g.Rule), g.Severity, g.Images[0])
		if rest := g.ImageCount - 1; rest > 0 {
			title += fmt.Sprintf(" and %d more", rest)
		}
	}
	return "[Strata] " + strings.ReplaceAll(plain(title), "=?", "= ?")
}

// mailError is an *Error where the server answered. Of those answers 4yz are for now, 5yz
// for good (RFC 5321, 4.2.1), and some are about who sends (RFC 4954, 6).
func mailError(ctx context.Context, host string, err error) error {
	code := 0
	if refused, ok := errors.AsType[*mail.SendError](err); ok {
		code = refused.ErrorCode()
	} else if answer, ok := errors.AsType[*textproto.Error](err); ok && answer.Code >= 400 {
		code = answer.Code
	}
	reason := fmt.Sprintf("mail by %s: %s", host, plain(err.Error()))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("mail by %s: it took too long: %w", host, ctx.Err())
	case slices.Contains([]int{530, 534, 535, 538}, code):
		return &Error{Status: code, Gone: true, Reason: reason + " (give the receiver another username or secret)"}
	case code != 0:
		return &Error{Status: code, Permanent: code/100 == 5, Reason: reason}
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return fmt.Errorf("mail by %s: it offers no STARTTLS, and nothing is sent without TLS unless the receiver has tls: none", host)
	}
	return fmt.Errorf("mail by %s: %w", host, err)
}

// mailOf writes the mail. What goes into headers has no line ends (plain), and its id is
// that of the delivery, by which a second one is known.
func (s *Sender) mailOf(r *Receiver, m *Message) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(r.From), msg.To(r.To...)); err != nil {
		return nil, &Error{Permanent: true, Reason: plain(err.Error())}
	}
	title := mailTitle(m)
	msg.Subject(title)
	msg.SetDateWithValue(m.At)
	msg.SetMessageIDWithValue(m.Delivery + "@strata")
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	groups, more := show(m, 0)
	var text, html strings.Builder
	text.WriteString(title + "\n")
	for _, g := range groups {
		text.WriteString("\n" + g.Head + "\n" + g.Text + "\n" + g.Images + "\n")
	}
	for _, end := range []string{moreText(more), m.Link} {
		if end != "" {
			text.WriteString("\n" + end + "\n")
		}
	}
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

func (s *Sender) mailClient(ctx context.Context, r *Receiver) (*mail.Client, error) {
	const patience = 30 * time.Second
	options := []mail.Option{mail.WithTimeout(patience), mail.WithHELO("strata"), mail.WithTLSConfig(s.mailTLS(r)), mail.WithDialContextFunc(s.dialMail(ctx, r))}
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
		// Not what it discovers by itself: that doesn't know TLS of a dial function.
		options = append(options, mail.WithUsername(r.Username), mail.WithPassword(r.Secret), mail.WithOpportunisticSMTPAuth(
			mail.SMTPAuthSCRAMSHA256PLUS, mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1PLUS, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthCramMD5, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	return mail.NewClient(r.Host, options...)
}

func (s *Sender) mailTLS(r *Receiver) *tls.Config {
	return &tls.Config{ServerName: r.Host, MinVersion: tls.VersionTLS12, RootCAs: s.Roots}
}

// dialMail dials by the sender's Dial, and speaks TLS at once where the receiver does: a
// dial function takes the place of the client's own TLS. The connection ends with ctx,
// which the client heeds only while it dials.
func (s *Sender) dialMail(ctx context.Context, r *Receiver) mail.DialContextFunc {
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(dialling context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(dialling, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if r.TLS != "tls" {
			return conn, nil
		}
		secure := tls.Client(conn, s.mailTLS(r))
		if err := secure.HandshakeContext(dialling); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return secure, nil
	}
}
