package event

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// A sample is one notification as a sender's documentation has it.
type sample struct {
	name   string
	form   Form
	header http.Header
	body   []byte
	want   []string
}

func samples(t testing.TB) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	var out []sample
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := sample{name: strings.TrimSuffix(filepath.Base(file), ".txtar")}
		form, _, _ := strings.Cut(s.name, "-")
		s.form = Form(form)
		for _, f := range a.Files {
			switch f.Name {
			case "header":
				h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(f.Data, '\n')))).ReadMIMEHeader()
				if err != nil {
					t.Fatal(file, err)
				}
				s.header = http.Header(h)
			case "body":
				s.body = f.Data
			case "want":
				for line := range strings.Lines(string(f.Data)) {
					s.want = append(s.want, strings.TrimSpace(line))
				}
			}
		}
		out = append(out, s)
	}
	return out
}

func describe(events []Event) []string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	var out []string
	for _, e := range events {
		at := ""
		if !e.At.IsZero() {
			at = e.At.Format(time.RFC3339Nano)
		}
		out = append(out, fmt.Sprintf("%s %s %s %s %s %s", e.Action, dash(e.Registry), dash(e.Repository), dash(e.Tag), dash(e.Digest), dash(at)))
	}
	return out
}

// TestParse: what senders document is read, by the name of the form and without.
func TestParse(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.name, func(t *testing.T) {
			for _, form := range []Form{s.form, Any} {
				events, err := Parse(form, s.header, s.body)
				if err != nil {
					t.Fatalf("form %q: %v", form, err)
				}
				if diff := cmp.Diff(s.want, describe(events)); diff != "" {
					t.Errorf("form %q (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

// TestEveryFormHasSamples: and each has one that gives an event.
func TestEveryFormHasSamples(t *testing.T) {
	have := map[Form]bool{}
	for _, s := range samples(t) {
		if !slices.Contains(Forms(), s.form) {
			t.Errorf("%s: no form %q", s.name, s.form)
		}
		have[s.form] = have[s.form] || len(s.want) > 0
	}
	for _, f := range Forms() {
		if !have[f] {
			t.Errorf("no sample of %q gives an event", f)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		form Form
		body string
	}{
		"empty":           {Any, ""},
		"nothing known":   {Any, `{"a": 1}`},
		"no such form":    {"gitlab", `{}`},
		"damaged":         {Distribution, `{"events": [`},
		"other form":      {Distribution, `{"push_data": {}}`},
		"too large":       {Distribution, `{"events": []}` + strings.Repeat(" ", MaxSize)},
		"too many":        {Distribution, `{"events": [` + strings.Repeat(`{"action":"delete","target":{"repository":"a"}},`, maxEvents) + `{"action":"delete","target":{"repository":"b"}}]}`},
		"google, no data": {Google, `{"message": {"data": "!"}, "subscription": "x"}`},
		"deep":            {Any, strings.Repeat("[", 100_000)},
	} {
		if events, err := Parse(c.form, nil, []byte(c.body)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: events %v, error %v; want ErrForm", name, events, err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "team/web": true, "a.b": true, "a_b": true, "a__b": true, "a---b": true, "0/1": true,
		"": false, "/a": false, "a/": false, "a//b": false, "A": false, ".a": false, "a.": false, "a..b": false, "a___b": false, "a-_b": false,
		"..": false, "a/../b": false, "a b": false, "ä": false, "a:b": false, "a@b": false, "a?b": false, "a%2fb": false,
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false,
	} {
		if got := validRepository(name); got != want {
			t.Errorf("repository %q: %t", name, got)
		}
	}
	for tag, want := range map[string]bool{
		"1.2": true, "_x": true, "V1-rc.2": true, strings.Repeat("t", 128): true,
		"": false, ".x": false, "-x": false, "a/b": false, "a:b": false, "ä": false, strings.Repeat("t", 129): false,
	} {
		if got := validTag(tag); got != want {
			t.Errorf("tag %q: %t", tag, got)
		}
	}
}

func TestReadHandshake(t *testing.T) {
	sns := http.Header{"X-Amz-Sns-Message-Type": {"SubscriptionConfirmation"}}
	confirm := func(url string) string {
		return `{"Type": "SubscriptionConfirmation", "MessageId": "1", "Token": "t", "TopicArn": "arn:aws:sns:us-west-2:1:ecr", "SubscribeURL": "` + url + `"}`
	}
	good := "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token=t"
	for name, c := range map[string]struct {
		header http.Header
		body   string
		want   Handshake
		ok     bool
		refuse bool
	}{
		"azure": {body: `[{"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6", "validationUrl": "https://evil.example"}}]`,
			header: http.Header{"Aeg-Event-Type": {"SubscriptionValidation"}}, want: Handshake{ValidationCode: "512d38b6"}, ok: true},
		"sns":          {header: sns, body: confirm(good), want: Handshake{SubscribeURL: good, Topic: "arn:aws:sns:us-west-2:1:ecr"}, ok: true},
		"sns, raw":     {body: confirm(good), want: Handshake{SubscribeURL: good, Topic: "arn:aws:sns:us-west-2:1:ecr"}, ok: true},
		"other host":   {header: sns, body: confirm("https://sns.us-west-2.amazonaws.com.evil.example/"), ok: true, refuse: true},
		"user":         {header: sns, body: confirm("https://sns.us-west-2.amazonaws.com@evil.example/"), ok: true, refuse: true},
		"bucket":       {header: sns, body: confirm("https://evil.s3.us-west-2.amazonaws.com/"), ok: true, refuse: true},
		"port":         {header: sns, body: confirm("https://sns.us-west-2.amazonaws.com:22/"), ok: true, refuse: true},
		"plain":        {header: sns, body: confirm("http://sns.us-west-2.amazonaws.com/"), ok: true, refuse: true},
		"notification": {header: sns, body: `{"Type": "Notification", "Message": "{}"}`},
		"none":         {body: `{"events": []}`},
		"damaged":      {header: sns, body: `{`},
	} {
		h, ok, err := ReadHandshake(c.header, []byte(c.body))
		if diff := cmp.Diff(c.want, h); diff != "" || ok != c.ok || (err != nil) != c.refuse {
			t.Errorf("%s: ok %t, error %v\n%s", name, ok, err, diff)
		}
	}
}

// fuzzForm checks for any bytes that Parse ends without panic and that all names
// it gives are those of images.
func fuzzForm(f *testing.F, form Form) {
	for _, s := range samples(f) {
		if form == Any || s.form == form {
			f.Add(s.body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := Parse(form, nil, body)
		if err != nil && !errors.Is(err, ErrForm) {
			t.Error(err)
		}
		for _, e := range events {
			if !validRepository(e.Repository) || e.Tag != "" && !validTag(e.Tag) || e.Digest != "" && len(e.Digest) != 71 {
				t.Errorf("bad name in %+v", e)
			}
			if e.Action != Deleted && (e.Action != Pushed || e.Tag == "" && e.Digest == "") {
				t.Errorf("says nothing: %+v", e)
			}
		}
		_, _, _ = ReadHandshake(nil, body)
	})
}

func FuzzAny(f *testing.F)          { fuzzForm(f, Any) }
func FuzzDistribution(f *testing.F) { fuzzForm(f, Distribution) }
func FuzzHarbor(f *testing.F)       { fuzzForm(f, Harbor) }
func FuzzGitHub(f *testing.F)       { fuzzForm(f, GitHub) }
func FuzzDockerHub(f *testing.F)    { fuzzForm(f, DockerHub) }
func FuzzQuay(f *testing.F)         { fuzzForm(f, Quay) }
func FuzzAzure(f *testing.F)        { fuzzForm(f, Azure) }
func FuzzGoogle(f *testing.F)       { fuzzForm(f, Google) }
func FuzzAWS(f *testing.F)          { fuzzForm(f, AWS) }
