package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"
)

// particular is what differs between the addresses of a kind: ids, digests, values.
const particular = `[0-9]+|sha256(:|%3A)[0-9a-f]+|(CVE|GHSA)-[^/?&]+|=[^&]*`

// walk opens the pages that links lead to, one of each kind, and does something on each. It
// gives the kinds.
func (b *browser) walk(do func(path string)) (kinds map[string]bool) {
	b.t.Helper()
	if dir := os.Getenv("STRATA_UI_SCREENSHOTS"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	tab, differs := regexp.MustCompile(`tab=[a-z]*`), regexp.MustCompile(particular)
	kinds, todo := map[string]bool{}, []string{"/"}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		kind := differs.ReplaceAllString(path, "*")
		if t := tab.FindString(path); t != "" { // a tab is a page of its own
			kind = t
		}
		if kinds[kind] {
			continue
		}
		kinds[kind] = true
		b.open(path)
		do(path)
		for _, bad := range []string{"Something went wrong", "Not found", "Not allowed", "That did not work"} {
			if strings.Contains(b.text(), bad) {
				b.t.Errorf("%s: %.300s", path, b.text())
			}
		}
		todo = append(todo, evaluate[[]string](b, `[...document.querySelectorAll('a[href^="/"]:not([download])')].map(a => a.getAttribute("href").split("#")[0]).filter(h => !h.startsWith("/api/"))`)...)
	}
	b.t.Logf("%d kinds of pages were looked at", len(kinds))
	return kinds
}

// A sentForm is a form as it is on a page, with what it would send.
type sentForm struct {
	Action string
	Fields [][2]string
	Page   string
}

// asRoles looks at all pages as users who may do less than an administrator, and uses what
// is offered there: a link or a button that is shown and then refused would be a lie.
func (b *browser) asRoles() {
	b.t.Helper()
	const password = "correct-horse-battery"
	users := []struct{ name, role, repository string }{
		{"viola", "viewer", "**"}, {"devin", "developer", "**"}, {"secundus", "security", "**"},
		{"tess", "developer", "fleet/team-a/**"}, {"norah", "security", "fleet/team-a/**"},
	}
	for _, u := range users {
		status := evaluate[int](b, fmt.Sprintf(`fetch("/api/v1/users", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({name: %q, password: %q, grants: [{role: %q, repository: %q}]})}).then(r => r.status)`, u.name, password, u.role, u.repository))
		if status != 201 {
			b.t.Fatalf("user %s: status %d", u.name, status)
		}
	}
	for _, u := range users {
		b.logIn(u.name, password)
		b.useAll(u.role + " of " + u.repository)
	}
	b.logIn("admin", password)
	b.useAll("administrator")
}

// logIn logs in as somebody else.
func (b *browser) logIn(name, password string) {
	b.t.Helper()
	b.open("/")
	if b.address() == "/" {
		b.click("Log out")
	}
	b.sees("Log in to Strata")
	b.fill("Name", name)
	b.fill("Password", password)
	b.click("Log in")
	b.sees("The worst images")
}

// useAll opens all pages and sends each kind of form on them as it is, those last that take
// something away.
func (b *browser) useAll(who string) {
	b.t.Helper()
	var forms []sentForm
	seen, differs := map[string]bool{}, regexp.MustCompile(particular+`|(registries|users|policies|watches|receivers)/[^/]+`)
	b.walk(func(path string) {
		for _, f := range evaluate[[]sentForm](b, `[...document.querySelectorAll('form[method=post]')].map(f => ({Action: f.getAttribute("action") || location.pathname, Fields: [...new FormData(f)].filter(([, v]) => typeof v === "string"), Page: location.pathname}))`) {
			if kind := differs.ReplaceAllString(f.Action, "*"); !seen[kind] && f.Action != "/logout" {
				seen[kind] = true
				forms = append(forms, f)
			}
		}
	})
	last := regexp.MustCompile(`/(delete|remove|revoke|cancel|disable|end)$`)
	slices.SortStableFunc(forms, func(a, b sentForm) int {
		rank := func(f sentForm) int { return len(last.FindString(f.Action)) }
		return cmp.Compare(rank(a), rank(b))
	})
	for _, f := range forms {
		fields, err := json.Marshal(f.Fields)
		if err != nil {
			b.t.Fatal(err)
		}
		said := evaluate[string](b, fmt.Sprintf(`fetch(%q, {method: "POST", body: new URLSearchParams(%s)}).then(async r => [403, 404, 405].includes(r.status) || r.status >= 500 ? r.status + " " + (await r.text()).replace(/\s+/g, " ").replace(/.*<main/, "") : "")`, f.Action, string(fields)))
		if said != "" {
			b.t.Errorf("%s: the form to %s on %s: %.500s", who, f.Action, f.Page, said)
		}
	}
	b.takeConsole() // the browser tells of forms that were not filled in
	b.t.Logf("%s: %d kinds of forms were sent", who, len(forms))
}

// withoutScripts keeps the page's script from the browser, and finds what is in an image, and
// its fix, all the same.
func (b *browser) withoutScripts(image string) {
	b.t.Helper()
	blocked := func(urls ...string) chromedp.Action[chromedp.Void] {
		return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			if err := t.Call(ctx, "Network.enable", nil, nil); err != nil {
				return err
			}
			return t.Call(ctx, "Network.setBlockedURLs", map[string]any{"urls": append([]string{}, urls...)}, nil)
		})
	}
	b.do("block scripts", blocked("*.js"))
	b.open("/images")
	b.fill("Name", image)
	b.click("Show")
	b.sees("those without a tag too")
	b.click(image)
	b.sees("Height is size")
	if evaluate[bool](b, `[...document.querySelectorAll("time[datetime]")].some(t => !t.title.endsWith("UTC"))`) {
		b.t.Error("the script was there")
	}
	b.click("Fix")
	b.sees("org.apache.logging.log4j:log4j-core 2.17.1")
	b.do("allow scripts", blocked())
	b.takeConsole() // it tells of each
}

// byKeyboard goes through a page with the Tab key: each thing that can be used is reached, in
// the order in which the page has it, and is seen to have the focus. The key / begins a search.
func (b *browser) byKeyboard(path string) {
	b.t.Helper()
	b.open(path)
	type stop struct {
		Place, All int
		Seen       bool
		What       string
	}
	last := -1
	for {
		b.press("Tab", 9)
		at := evaluate[stop](b, `(() => {
			const e = document.activeElement, style = getComputedStyle(e), r = e.getBoundingClientRect();
			const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")].filter((x) => x.tabIndex >= 0 && !x.disabled && x.checkVisibility({ visibilityProperty: true }));
			return {Place: all.indexOf(e), All: all.length, What: e.outerHTML.replace(/\s+/g, " ").slice(0, 120),
				Seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth};
		})()`)
		if at.Place != last+1 {
			b.t.Errorf("%s: the focus goes from place %d to %d of %d: %s", path, last, at.Place, at.All, at.What)
			return
		}
		if !at.Seen {
			b.t.Errorf("%s: who has the focus is not seen: %s", path, at.What)
		}
		if last = at.Place; last == at.All-1 {
			break
		}
	}
	b.press("/", 191)
	if at := evaluate[string](b, `document.activeElement.id`); at != "find" {
		b.t.Errorf("%s: the key / leads to %q", path, at)
	}
}

// press presses a key that writes nothing, by its name and Windows' number of it.
func (b *browser) press(key string, number int) {
	b.t.Helper()
	b.do("press "+key, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, what := range []string{"rawKeyDown", "keyUp"} {
			if err := t.Call(ctx, "Input.dispatchKeyEvent", map[string]any{"type": what, "key": key, "windowsVirtualKeyCode": number}, nil); err != nil {
				return err
			}
		}
		return nil
	}))
}
