package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update takes it over):\n%s", path, diff)
	}
}

// aMessage has a vulnerability in more images than it lists, and names that want to be
// markup, headers and lines of their own.
func aMessage() *Message {
	return &Message{
		Delivery: "7f4df1e8-0c8b-4a0e-9d3c-5b1f3c2a9e10", At: time.Date(2026, 11, 26, 4, 0, 0, 0, time.UTC), Title: "Digest", Link: "https://strata.example/a?b&c", Groups: []Group{
			{
				Vulnerability: "CVE-2026-0001", Policy: "standard", Rule: "critical", Owner: "team-a", Severity: "critical", Decision: "fail", Message: "CVE-2026-0001 in lodash 4.17.4, fixed in 4.17.21",
				Images: []string{"hub.example/team-a/web:1", "hub.example/team-a/web:2"}, ImageCount: 31, Packages: []string{"npm/lodash"}, Watches: []string{"all"},
			},
			{
				Policy: "standard", Rule: "labels", Owner: "<!channel>\r\nBcc: x@evil.example", Severity: "unknown", Decision: "warn", Message: "[here](https://evil.example) *bold* <img src=x> &amp; \x1b[2Jtxt.exe\x00",
				Images: []string{"hub.example/b:<b>1</b>"}, ImageCount: 1, Watches: []string{"all", "some"},
			},
		},
	}
}

// sent is what a receiver of a kind is sent over HTTP: the headers that matter, and the body.
func sent(t *testing.T, kind string, m *Message) string {
	t.Helper()
	var out strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Content-Type", "User-Agent", "Authorization", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
			if v := r.Header.Get(name); v != "" {
				fmt.Fprintf(&out, "%s: %s\n", name, v)
			}
		}
		body, _ := io.ReadAll(r.Body)
		var indented bytes.Buffer
		if err := json.Indent(&indented, body, "", "  "); err != nil {
			t.Error(err)
		}
		out.WriteString("\n" + indented.String() + "\n")
	}))
	defer server.Close()
	to := &Receiver{Kind: kind, URL: server.URL, Secret: "whsec_c2VjcmV0"}
	if kind == "slack" || kind == "teams" {
		to.Secret = server.URL
	}
	s := NewSender(http.DefaultClient)
	s.Now = func() time.Time { return time.Unix(1764129600, 0) }
	if err := s.Send(t.Context(), to, m); err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestFormats(t *testing.T) {
	for _, kind := range []string{"webhook", "cloudevents", "slack", "teams"} {
		golden(t, kind+".txt", sent(t, kind, aMessage()))
	}
	msg, err := (&Sender{}).mailOf(&Receiver{From: "Strata <strata@example.org>", To: []string{"ann@example.org"}}, aMessage())
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := msg.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	boundary := regexp.MustCompile(`boundary=(\w+)`).FindStringSubmatch(text.String())
	golden(t, "mail.txt", strings.ReplaceAll(strings.ReplaceAll(text.String(), boundary[1], "BOUNDARY"), "\r\n", "\n"))
}

// What is named as one likes is in no format more than a name, and no message is larger than
// its receiver takes.
func FuzzFormats(f *testing.F) {
	f.Add("hub/a:1", "npm/a", "CVE-1", "ann", "text", uint8(1))
	f.Add("hub/a\u202e\r\nBcc: x@evil.example\r\n\r\n.\r\n", "<script>alert(1)</script>", "CVE\r\nBcc: x@evil.example", "ann@example.org\r\nRCPT TO:<x@evil.example>", "{{.Link}}\u2028--BOUNDARY", uint8(25))
	f.Add("\xff\xfe\x00", "*bold* _it_ `code` <!channel> <https://evil.example|x>", "=?utf-8?q?x?= <!channel>", "\"a b\"@example.org", "[x](https://evil.example) &lt;", uint8(3))
	f.Add(strings.Repeat("<", 3000), strings.Repeat("\U0001F525", 3000), strings.Repeat("é", 3000), strings.Repeat("&", 3000), strings.Repeat("\x1b", 3000), uint8(255))
	f.Fuzz(func(t *testing.T, image, pkg, title, owner, text string, n uint8) {
		m := &Message{Delivery: "7f4df1e8-0c8b-4a0e-9d3c-5b1f3c2a9e10", At: time.Unix(1e9, 0), Title: title, Link: "https://strata.example/a?b&c"}
		for range n {
			m.Groups = append(m.Groups, Group{
				Vulnerability: title, Policy: text, Rule: pkg, Owner: owner, Severity: text, Decision: text, Message: text,
				Images: slices.Repeat([]string{image}, 20), ImageCount: 30, Packages: slices.Repeat([]string{pkg}, 20), Watches: []string{text},
			})
		}
		checkEvent(t, m)
		checkSlack(t, m)
		checkTeams(t, m)
		checkMail(t, m)
	})
}

// asJSON is a body as its receiver reads it, within a number of bytes.
func asJSON[T any](t *testing.T, body any, most int) T {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > most || !utf8.Valid(text) {
		t.Fatalf("%d bytes, at most %d; UTF-8: %v", len(text), most, utf8.Valid(text))
	}
	var out T
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkEvent(t *testing.T, m *Message) {
	t.Helper()
	data, err := bounded(m)
	if err != nil {
		t.Fatal(err)
	}
	got := asJSON[Message](t, data, maxEvent+8<<10)
	if len(got.Groups)+got.More != len(m.Groups) || len(m.Groups) > 0 && len(got.Groups) == 0 {
		t.Errorf("%d groups and %d more of %d", len(got.Groups), got.More, len(m.Groups))
	}
	for _, g := range got.Groups {
		if want := strings.ToValidUTF8(shorten(m.Groups[0].Images[0], maxText), "\ufffd"); utf8.ValidString(m.Groups[0].Images[0]) && g.Images[0] != want {
			t.Errorf("%q; want %q", g.Images[0], want)
		}
	}
}

// checkShown fails where a text could drive what shows it.
func checkShown(t *testing.T, text string) {
	t.Helper()
	if i := strings.IndexFunc(text, func(c rune) bool { return c != '\n' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }); i >= 0 {
		t.Errorf("%q at %d of %q", text[i:], i, text)
	}
}

func checkSlack(t *testing.T, m *Message) {
	t.Helper()
	type body struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	got := asJSON[body](t, slackBody(m), 40_000)
	if strings.ContainsAny(got.Text, "<>") || len(got.Blocks) > 50 {
		t.Errorf("%d blocks, text %q", len(got.Blocks), got.Text)
	}
	checkShown(t, got.Text)
	for i, b := range got.Blocks {
		checkShown(t, b.Text.Text)
		most := 3000
		if b.Type == "header" {
			most = 150
		}
		if n := len(utf16.Encode([]rune(b.Text.Text))); n > most || n == 0 {
			t.Errorf("%s of %d", b.Type, n)
		}
		if markup := b.Text.Type != "plain_text"; markup != (i == len(got.Blocks)-1) || markup && b.Text.Text != "<https://strata.example/a?b&amp;c|Open Strata>" {
			t.Errorf("%+v", b)
		}
	}
}

func checkTeams(t *testing.T, m *Message) {
	t.Helper()
	type body struct {
		Attachments []struct {
			Content struct {
				Body []struct {
					Type    string
					Inlines []struct{ Type, Text string }
				}
				Actions []struct{ Type, URL string }
			}
		}
	}
	card := asJSON[body](t, teamsBody(m), 28<<10).Attachments[0].Content
	if len(card.Actions) != 1 || card.Actions[0].URL != m.Link {
		t.Errorf("%+v", card.Actions)
	}
	if title, group := 1, 3; len(m.Groups) > 0 && len(card.Body) < title+group {
		t.Errorf("no group of %d", len(m.Groups))
	}
	for _, b := range card.Body {
		if b.Type != "RichTextBlock" || len(b.Inlines) != 1 || b.Inlines[0].Type != "TextRun" {
			t.Errorf("%+v", b)
			continue
		}
		checkShown(t, b.Inlines[0].Text)
	}
}

func checkMail(t *testing.T, m *Message) {
	t.Helper()
	to := "ann@example.org"
	if a, err := mail.ParseAddress(m.Title); err == nil {
		to = a.Address
	}
	msg, err := (&Sender{}).mailOf(&Receiver{From: "strata@example.org", To: []string{to}}, m)
	if err != nil {
		return // an address that no mail has
	}
	var text bytes.Buffer
	if _, err := msg.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.SplitSeq(text.Bytes(), []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("line of %d bytes: %q", len(line), line)
		}
	}
	got, err := mail.ReadMessage(&text)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got.Header))); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if list, err := got.Header.AddressList("To"); err != nil || len(list) != 1 || list[0].Address != to {
		t.Errorf("to %v, %v; want %s", list, err, to)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject")); err != nil || strings.ContainsAny(subject, "\r\n") || subject != mailTitle(m) || strings.Contains(subject, "=?") {
		t.Errorf("subject %q, %v", subject, err)
	}
	checkParts(t, got, m)
}

func checkParts(t *testing.T, got *mail.Message, m *Message) {
	t.Helper()
	_, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(got.Body, params["boundary"])
	tags := map[string]int{"<h2>": 1, "<h3>": min(len(m.Groups), maxShown), "<a ": 1, "<img": 0, "<script": 0}
	for _, kind := range []string{"text/plain", "text/html"} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil || !strings.HasPrefix(part.Header.Get("Content-Type"), kind) || !utf8.Valid(text) {
			t.Fatalf("%s: %v", part.Header, err)
		}
		checkShown(t, strings.ReplaceAll(string(text), "\r\n", "\n"))
		for tag, n := range tags {
			if got := strings.Count(string(text), tag); kind == "text/html" && got != n {
				t.Errorf("%d %s in the page; want %d", got, tag, n)
			}
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("more parts: %v", err)
	}
}
