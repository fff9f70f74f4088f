package web

import (
	"net/http"
	"testing"
	"time"
)

// Every page parses, and what is asked for by a name that is not there would be found here.
func TestNew(t *testing.T) {
	s, err := New(Options{API: func(*http.Request) (int, http.Header, []byte) { return http.StatusNotFound, nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	s.Register(http.NewServeMux())
	if _, err := New(Options{}); err == nil {
		t.Error("pages without an API")
	}
}

func TestWords(t *testing.T) {
	for _, c := range [][2]string{
		{number(1), "1"}, {number(1234), "1 234"}, {number(1234567), "1 234 567"}, {number(-1234), "-1 234"}, {number(-123), "-123"},
		{count(1, "image"), "1 image"}, {count(0, "image"), "0 images"}, {count(2, "vulnerability", "vulnerabilities"), "2 vulnerabilities"},
		{ago(30 * time.Second), "just now"}, {ago(90 * time.Minute), "1 h ago"}, {ago(-3 * time.Hour), "in 3 h"}, {ago(72 * time.Hour), "3 days ago"},
		{short("sha256:0123456789abcdef"), "0123456789ab"}, {short("abc"), "abc"},
		{cutText(5, "abcdefg"), "abcd…"}, {cutText(5, "äöüßé"), "äöüßé"}, {sentence("it is so"), "It is so."}, {sentence("It is so."), "It is so."},
		{withoutCommands("no advisory data for npm: 1 package was not checked (`strata db update --ecosystem \"npm\"` fetches what there is)"), "no advisory data for npm: 1 package was not checked"}, {withoutCommands("layer (a)"), "layer (a)"},
		{string(breakable("a.b:c/<d>")), "a.<wbr>b:<wbr>c/<wbr>&lt;d&gt;"},
		{ownPath("/images?q=1"), "/images?q=1"}, {ownPath("//evil.example"), "/"}, {ownPath("https://evil.example"), "/"}, {ownPath(`/\evil.example`), "/"}, {ownPath(""), "/"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
}
