package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startRealFleet is Debian's docker-registry with the images of fleet.sh.
func startRealFleet(t *testing.T) (url string) {
	t.Helper()
	images := shared(t, "images")
	for _, name := range []string{"docker-registry", "skopeo", "python3"} {
		program(t, name)
	}
	dir, port := t.TempDir(), freePort(t)
	if out, err := exec.Command("bash", filepath.Join(images, "fleet.sh"), dir, "", port).CombinedOutput(); err != nil {
		t.Fatalf("fleet.sh: %v\n%s", err, out)
	}
	registry := exec.Command("docker-registry", "serve", filepath.Join(dir, "config.yml"))
	if err := registry.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Process.Kill(); _ = registry.Wait() })
	url = "http://127.0.0.1:" + port
	waitUntil(t, "docker-registry", 30*time.Second, func() bool {
		res, err := http.Get(url + "/v2/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err == nil
	})
	return url
}

// Someone who never saw the product, with no documentation: makes the administrator,
// connects a registry, finds the worst image, sees which layer and instruction brings the
// worst vulnerability, all other images that have it, and the fix. All pages that links
// lead to are then looked at, in light, dark and on a phone. Before that they waive a finding
// until a date, and set a watch that mails the owner. In the end others look at it, who may
// do less.
func TestRealUI(t *testing.T) {
	t.Parallel() // it waits, for most of its time
	registry := startRealFleet(t)
	s := startServer(t, t.TempDir(), "--mirror", filepath.Join(shared(t, "feeds"), "osv"), "--kev", "none", "--epss", "none", "--allow-private-addresses", "--crawl-every", "1h", "--sync-every", "1h")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lastLines(s.log.String(), 30))
		}
	})
	b := startBrowser(t, s.url)
	waitUntil(t, "a setup token", 30*time.Second, func() bool { return setupToken(s.log.String()) != "" })
	b.open("/")
	b.sees("Welcome to Strata")
	b.fill("Setup token", setupToken(s.log.String()))
	b.fill("Password", "correct-horse-battery")
	b.fill("The same password again", "correct-horse-battery")
	b.click("Make the administrator")

	b.sees("No registry is connected")
	b.fill("Address", registry)
	b.click("Test the connection")
	b.sees("It can be read")
	b.fill("Name", "fleet")
	b.click("Connect")
	b.sees("Registry fleet is added")
	b.click("Images")
	b.sees("fleet/team-") // as it is scanned, without a page being loaded
	waitUntil(t, "all images are scanned, and held against all advisories", 3*time.Minute, func() bool {
		return evaluate[bool](b, `fetch("/api/v1/images?limit=200").then(r => r.json()).then(p => p.items.length >= 60 && p.items.some(i => i.names[0] === "fleet/team-d/billing:1.0" && i.counts.critical === 14))`)
	})

	b.open("/")
	b.click("fleet/team-d/billing:1.0")
	b.sees("CVE-2021-44228")
	b.click("2 COPY --chown=app . /srv/app 593 B · 2 packages · 56 findings, worst critical")
	b.sees("Layer 2")
	b.click("CVE-2021-44228")
	b.sees("Remote code injection in Log4j")
	for _, other := range []string{"fleet/team-a/billing:1.0", "fleet/team-b/billing:1.0", "fleet/team-c/billing:1.0"} {
		b.sees(other)
	}
	b.click("fleet/team-a/billing:1.0")
	b.click("Fix")
	b.sees("org.apache.logging.log4j:log4j-core 2.17.1")

	b.waives()
	mails := startMailSink(t)
	b.watches(mails)
	b.walk(func(path string) {
		for _, l := range looks() {
			b.look(path, l)
		}
	})
	b.do("show it on a desk", chromedp.EmulateViewport(1400, 900)) // a phone's menu is shut
	for text, found := range map[string]string{"log4j": "org.apache.logging.log4j:log4j-core", "gpl-2": "GPL-2.0", "cve-2021-44228": "Remote code injection in Log4j", "CVE-1999-0001": "No package of any image here"} {
		b.open("/search?q=" + text)
		b.sees(found)
	}
	for _, path := range []string{"/images", "/registries", "/policies/new"} {
		b.byKeyboard(path)
	}
	b.withoutScripts("fleet/team-d/billing:1.0")
	b.asRoles()
	b.base = strings.Replace(b.base, "127.0.0.1", otherHost, 1)
	b.open("/login")
	b.logIn("admin", "correct-horse-battery")       // whence forms come is told otherwise here
	b.do("leave", chromedp.Navigate("about:blank")) // pages listen to a server as long as it is there
	s.stop(t)
}

// waives sets a finding aside until a date.
func (b *browser) waives() {
	b.t.Helper()
	b.open("/")
	b.click("fleet/team-d/billing:1.0")
	b.click("Waive CVE-2021-44228 in org.apache.logging.log4j:log4j-core")
	b.sees("Set something aside")
	b.fill("Reason", "the endpoint is switched off")
	b.fill("Until", time.Now().AddDate(0, 1, 0).Format(time.DateOnly))
	b.click("Set aside")
	b.sees("The waiver is added")
	b.sees("the endpoint is switched off")
	b.open("/")
	b.click("fleet/team-d/billing:1.0")
	b.sees("CVE-2019-14379")
	if strings.Contains(b.text(), "CVE-2021-44228") {
		b.t.Errorf("what is waived still counts:\n%s", b.text())
	}
	b.tick("what is hidden or set aside too")
	b.click("Show")
	b.sees("the endpoint is switched off")
}

// watches lets the owner of a repository be told by mail of what breaks a policy.
func (b *browser) watches(mails *mailSink) {
	b.t.Helper()
	b.open("/registries")
	b.click("fleet")
	b.fill("Owners", "team-b/** team-b@example.com")
	b.click("Keep the settings")
	b.sees("The settings are kept")
	b.open("/receivers?kind=email")
	b.fill("Name", "mail")
	host, port, _ := net.SplitHostPort(mails.address)
	b.fill("Mail server", host)
	b.fill("Port", port)
	b.fill("Encryption", "none")
	b.fill("From", "strata@example.com")
	b.fill("To", "security@example.com")
	b.click("Make it")
	b.sees("Receiver mail is made")
	b.open("/watches/new")
	b.fill("Name", "billing of team-b")
	b.fill("Repositories", "fleet/team-b/billing")
	b.tick("fixable-criticals")
	b.tick("mail")
	b.click("Save")
	b.sees("is saved")
	waitUntil(b.t, "a mail to the owner", time.Minute, func() bool { return strings.Contains(mails.text(), "RCPT TO:<team-b@example.com>") })
	if text := mails.text(); strings.Contains(text, "RCPT TO:<security@example.com>") || !strings.Contains(text, "billing") {
		b.t.Errorf("it is told:\n%.3000s", text)
	}
	b.open("/violations")
	b.sees("watch billing of team-b")
	b.open("/watches/new") // what two watches judge has a page, too
	b.fill("Name", "all of it")
	b.tick("fixable-criticals")
	b.click("Save")
	b.sees("is saved")
	b.open("/violations")
	b.click("fleet/team-b/billing:1.0")
	b.sees("What each watch objects to")
	b.open("/notifications")
	b.sees("sent")
}

// A mailSink takes mails and keeps what was said.
type mailSink struct {
	address string

	mu   sync.Mutex
	said strings.Builder
}

// startMailSink starts a server that speaks as much SMTP (RFC 5321) as it takes.
func startMailSink(t *testing.T) *mailSink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	m := &mailSink{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.talk(c)
		}
	}()
	return m
}

func (m *mailSink) talk(c net.Conn) {
	defer c.Close()
	say := func(text string) { _, _ = fmt.Fprintf(c, "%s\r\n", text) }
	say("220 sink")
	inMail := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		m.mu.Lock()
		m.said.WriteString(line + "\n")
		m.mu.Unlock()
		switch {
		case inMail && line == ".":
			inMail = false
			say("250 taken")
		case inMail:
		case strings.EqualFold(line, "DATA"):
			inMail = true
			say("354 go on")
		case strings.EqualFold(line, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 sink")
		}
	}
}

func (m *mailSink) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.String()
}
