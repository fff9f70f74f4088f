package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
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

	"github.com/google/go-cmp/cmp"
)

// A mailServer speaks as much SMTP (RFC 5321, 3207, 4954) as it takes to send it a mail.
type mailServer struct {
	// certificate for TLS, which it speaks at once (implicit) or when asked to.
	certificate        tls.Certificate
	implicit, starttls bool
	// login is "user password" that it asks for; empty for nobody's.
	login string
	// answers to the commands that begin so, in the place of its own; empty hangs up.
	answers map[string]string

	port int
	mu   sync.Mutex
	// said is what it was told, with "TLS " before what nobody else read; mails what it took.
	said  []string
	mails []string
}

func (s *mailServer) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if s.implicit {
		l = tls.NewListener(l, s.config())
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.talk(c, s.implicit)
			}()
		}
	}()
}

func (s *mailServer) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS12}
}

func (s *mailServer) talk(c net.Conn, secure bool) {
	in := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	if _, isTLS := c.(*tls.Conn); !isTLS || s.implicit {
		say(s.answer("greeting", "220 mail.example"))
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		s.hear(line, secure)
		verb, _, _ := strings.Cut(line, " ")
		answer := s.answer(line, s.usual(verb, line, secure))
		if answer == "" {
			return
		}
		say(answer)
		switch {
		case verb == "QUIT":
			return
		case verb == "STARTTLS":
			s.talk(tls.Server(c, s.config()), true)
			return
		case verb == "DATA" && strings.HasPrefix(answer, "354"):
			if answer = s.answer("end of data", "250 taken"); s.take(in, answer) {
				say(answer)
			}
		}
	}
}

func (s *mailServer) hear(line string, secure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if secure {
		line = "TLS " + line
	}
	s.said = append(s.said, line)
}

// answer is what the test wants, or else the usual.
func (s *mailServer) answer(line, usual string) string {
	for begins, answer := range s.answers {
		if strings.HasPrefix(line, begins) {
			return answer
		}
	}
	return usual
}

func (s *mailServer) usual(verb, line string, secure bool) string {
	switch verb {
	case "EHLO":
		text := "250-mail.example\r\n"
		if s.starttls && !secure {
			text += "250-STARTTLS\r\n"
		}
		if s.login != "" {
			text += "250-AUTH LOGIN PLAIN\r\n"
		}
		return text + "250 8BITMIME"
	case "AUTH":
		user, password, _ := strings.Cut(s.login, " ")
		if secure && line == "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) {
			return "235 welcome"
		}
		return "535 5.7.8 who are you?"
	case "DATA":
		return "354 go on"
	case "STARTTLS":
		return "220 go on"
	case "QUIT":
		return "221 bye"
	}
	return "250 ok"
}

// take reads a mail until its end, and keeps it when it's taken.
func (s *mailServer) take(in *bufio.Reader, answer string) bool {
	var text strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(answer, "250") {
		s.mails = append(s.mails, text.String())
	}
	return true
}

func TestMail(t *testing.T) {
	authority := httptest.NewTLSServer(http.NotFoundHandler()) // of its certificate, for this machine
	defer authority.Close()
	const none, gone, permanent, again = "", "gone", "permanent", "again"
	tests := map[string]struct {
		server   *mailServer
		receiver Receiver
		// stranger does not know who signed the certificate.
		stranger bool
		// want is what to do of an error; status and text are of the error.
		want   string
		status int
		text   string
		// secret tells that the server got the password.
		secret bool
	}{
		"STARTTLS and a password":     {server: &mailServer{starttls: true, login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter2"}, secret: true},
		"TLS at once, and a password": {server: &mailServer{implicit: true, login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter2", TLS: "tls"}, secret: true},
		"no TLS":                      {server: &mailServer{}, receiver: Receiver{TLS: "none"}},
		"wrong password": {server: &mailServer{starttls: true, login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter3"},
			want: gone, status: 535, text: `535 "5.7.8 who are you?" (give the receiver another username or secret)`, secret: true},
		"login can't be checked now": {server: &mailServer{starttls: true, login: "strata hunter2", answers: map[string]string{"AUTH": "454 4.7.0 later"}},
			receiver: Receiver{Username: "strata", Secret: "hunter2"}, want: again, status: 454, secret: true},
		"a password is wanted":             {server: &mailServer{starttls: true, answers: map[string]string{"MAIL": "530 5.7.0 log in"}}, want: gone, status: 530},
		"no password is wanted":            {server: &mailServer{starttls: true}, receiver: Receiver{Username: "strata", Secret: "hunter2"}, want: again, text: "does not support SMTP AUTH"},
		"no STARTTLS":                      {server: &mailServer{login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter2"}, want: again, text: "offers no STARTTLS"},
		"STARTTLS of a stranger":           {server: &mailServer{starttls: true, login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter2"}, stranger: true, want: again, text: "certificate"},
		"TLS of a stranger":                {server: &mailServer{implicit: true, login: "strata hunter2"}, receiver: Receiver{Username: "strata", Secret: "hunter2", TLS: "tls"}, stranger: true, want: again, text: "certificate"},
		"one of two recipients refused":    {server: &mailServer{starttls: true, answers: map[string]string{"RCPT TO:<bob@": "550 5.1.1 no such user"}}, want: permanent, status: 550, text: "bob@example.org"},
		"one of two recipients not now":    {server: &mailServer{starttls: true, answers: map[string]string{"RCPT TO:<bob@": "450 4.2.0 greylisted"}}, want: again, status: 450},
		"sender not now":                   {server: &mailServer{starttls: true, answers: map[string]string{"MAIL": "452 4.3.1 full"}}, want: again, status: 452},
		"text refused":                     {server: &mailServer{starttls: true, answers: map[string]string{"end of data": "554 5.7.1 spam"}}, want: permanent, status: 554},
		"text not now":                     {server: &mailServer{starttls: true, answers: map[string]string{"end of data": "451 4.3.0 later"}}, want: again, status: 451},
		"nobody is served":                 {server: &mailServer{starttls: true, answers: map[string]string{"greeting": "421 4.3.2 closing"}}, want: again, status: 421},
		"it hangs up in the middle":        {server: &mailServer{starttls: true, answers: map[string]string{"RCPT": ""}}, want: again},
		"it hangs up when it has taken it": {server: &mailServer{starttls: true, answers: map[string]string{"RSET": "", "QUIT": ""}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, to := test.server, test.receiver
			server.certificate = authority.TLS.Certificates[0]
			server.start(t)
			to.Kind, to.Host, to.Port, to.From, to.To = "email", "127.0.0.1", server.port, "strata@example.org", []string{"ann@example.org", "bob@example.org"}
			s := NewSender(authority.Client())
			if test.stranger {
				s.Roots = nil
			}
			m := aMessage()
			m.Groups[0].Message = "." // the end of a mail, if it were not escaped
			checkMailError(t, s.Send(t.Context(), &to, m), test.want, test.status, test.text)
			server.mu.Lock()
			defer server.mu.Unlock()
			if (len(server.mails) == 1) != (test.want == none) || test.want == none && !strings.Contains(server.mails[0], "\r\n.\r\n") {
				t.Errorf("mails %q", server.mails)
			}
			if got := slices.ContainsFunc(server.said, func(line string) bool { return strings.Contains(line, "AUTH") }); got != test.secret {
				t.Errorf("the password was sent: %v; %q", got, server.said)
			}
			for _, line := range server.said {
				if secure := strings.HasPrefix(line, "TLS "); to.TLS != "none" && !secure && line != "EHLO strata" && line != "STARTTLS" && line != "QUIT" {
					t.Errorf("said for all to read: %s", line)
				}
			}
		})
	}
}

// checkMailError compares an error with what is to be done of it: "gone", "permanent", "again".
func checkMailError(t *testing.T, err error, want string, status int, text string) {
	t.Helper()
	got, gotStatus := "", 0
	var refused *Error
	switch {
	case errors.As(err, &refused):
		gotStatus = refused.Status
		got = map[bool]string{false: "again", true: "permanent"}[refused.Permanent]
		if refused.Gone {
			got = "gone"
		}
	case err != nil:
		got = "again"
	}
	if diff := cmp.Diff([]string{want, strconv.Itoa(status)}, []string{got, strconv.Itoa(gotStatus)}); diff != "" {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	if err != nil && (!strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "hunter")) {
		t.Errorf("error %v; want one with %q", err, text)
	}
}

// A server that says nothing is left when the time is over.
func TestMailTitle(t *testing.T) {
	group := Group{Vulnerability: "CVE-2026-0001", Severity: "critical", Images: []string{"hub/team/web:1", "hub/team/web:2"}, ImageCount: 3}
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{Title: "CVE-2026-0001 (team)", Groups: []Group{group}}, "[Strata] CVE-2026-0001 (critical) in hub/team/web:1 and 2 more"},
		{Message{Title: "x", Groups: []Group{{Policy: "p", Rule: "r", Severity: "unknown", Images: []string{"hub/a:=?x"}, ImageCount: 1}}}, "[Strata] p: r (unknown) in hub/a:= ?x"},
		{Message{Title: "Digest", Groups: []Group{group, group}}, "[Strata] Digest"},
		{Message{Title: "A test", Groups: []Group{group}, Test: true}, "[Strata] A test"},
		{Message{Title: "nothing", Groups: []Group{{}}}, "[Strata] nothing"},
	} {
		if got := mailTitle(&c.m); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestMailHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "220 mail.example\r\n")
		_, _ = bufio.NewReader(c).ReadString('\n') // EHLO, which it answers with nothing
		cancel()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}()
	began := time.Now()
	err = NewSender(http.DefaultClient).Send(ctx, &Receiver{Kind: "email", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: "none", From: "a@example.org", To: []string{"b@example.org"}}, aMessage())
	if !errors.Is(err, context.Canceled) || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
