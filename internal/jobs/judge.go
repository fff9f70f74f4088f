package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/store"
)

// A Court holds images against the policies of watches, with the waivers and VEX
// documents of the server.
type Court struct {
	DB      *store.DB
	Reports *Reports
	// Then is told that there may be violations of which nobody was told; may be nil.
	Then func(context.Context) error
	Log  *slog.Logger

	mu   sync.Mutex
	last *lawbook
	// tags is the version of the tags by which images were last brought into scopes.
	tags string
}

// A lawbook is all that decisions are made by, read and checked.
type lawbook struct {
	version string
	watches []store.Watch
	rules   map[string][]policy.Rule // by name of the policy
	waivers []*policy.Waivers
	vex     []*policy.VEX
}

// judgeBatch is how many images are taken at once, and judgedDaily how long a judgment
// is good for by itself: rules may ask for the age of things.
const (
	judgeBatch  = 20
	judgedDaily = 24 * time.Hour
)

// Work is that of the queue: it judges until nothing is due.
func (c *Court) Work() Work {
	return Work{Kind: Judge, Do: c.Do, Every: time.Minute, Timeout: time.Hour}
}

// Do judges what is due.
func (c *Court) Do(ctx context.Context, _ string) error {
	if err := c.refresh(ctx); err != nil {
		return err
	}
	for {
		due, err := c.DB.TakeJudgings(ctx, judgeBatch)
		if err != nil || len(due) == 0 {
			return err
		}
		byImage := map[int64][]store.Judging{}
		for _, j := range due {
			byImage[j.Image] = append(byImage[j.Image], j)
		}
		var failed error
		for _, image := range slices.Sorted(maps.Keys(byImage)) {
			if err := c.judgeImage(ctx, byImage[image]); err != nil {
				failed = errors.Join(failed, err) // the others must not wait for it
			}
		}
		if c.Then != nil {
			failed = errors.Join(failed, c.Then(ctx))
		}
		if failed != nil {
			return failed
		}
	}
}

// refresh brings images into the scopes of watches, and out of them, when tags have
// moved.
func (c *Court) refresh(ctx context.Context) error {
	version, err := c.DB.TagsVersion(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	known := c.tags == version
	c.mu.Unlock()
	if known {
		return nil
	}
	if err := c.DB.RefreshWatches(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	c.tags = version
	c.mu.Unlock()
	return nil
}

func (c *Court) judgeImage(ctx context.Context, judgings []store.Judging) error {
	book, err := c.lawbook(ctx)
	if err != nil {
		return err
	}
	image := judgings[0].Image
	r, err := c.Reports.Report(ctx, image)
	if errors.Is(err, store.ErrNotFound) {
		return nil // gone since
	}
	if err != nil {
		return err
	}
	m, err := c.DB.Image(ctx, image, nil)
	if err != nil {
		return err
	}
	for _, j := range judgings {
		i := slices.IndexFunc(book.watches, func(w store.Watch) bool { return w.ID == j.Watch })
		if i < 0 {
			continue
		}
		if name := nameFor(&book.watches[i], m); name != "" {
			r.Image.Reference = name
		}
		verdict, findings, err := c.verdict(book, &book.watches[i], r)
		if err != nil {
			return fmt.Errorf("watch %s: %w", book.watches[i].Name, err)
		}
		kept, err := c.DB.PutJudgment(ctx, j, string(verdict.Decision), c.next(book), violationsOf(verdict, r, findings))
		if err != nil {
			return err
		}
		if !kept && c.Log != nil {
			c.Log.DebugContext(ctx, "judgment was overtaken", "image", image, "watch", book.watches[i].Name)
		}
	}
	return nil
}

// nameFor is the name by which an image is in the scope of a watch.
func nameFor(w *store.Watch, m *store.ImageDetail) string {
	for _, t := range m.Tags {
		if !t.To.IsZero() || len(w.Scope.Repositories) > 0 && !store.MatchName(w.Scope.Repositories, t.Repository) || len(w.Scope.Tags) > 0 && !store.MatchName(w.Scope.Tags, t.Name) {
			continue
		}
		return t.Repository + ":" + t.Name
	}
	return ""
}

// verdict is that of one watch over a report.
func (c *Court) verdict(book *lawbook, w *store.Watch, r *report.Report) (policy.Verdict, *policy.Input, error) {
	rules, err := book.rulesOf(w, "", nil)
	if err != nil {
		return policy.Verdict{}, nil, err
	}
	verdict, in := c.evaluate(book, policy.Mode(w.Mode), rules, r)
	return verdict, in, nil
}

// rulesOf are those that a watch asks; for the policy of one name, where it isn't
// empty, those given.
func (b *lawbook) rulesOf(w *store.Watch, instead string, given []policy.Rule) ([]policy.Rule, error) {
	var rules []policy.Rule
	for _, name := range w.Policies {
		of, ok := b.rules[name]
		switch {
		case name == instead && instead != "":
			of = given
		case !ok:
			return nil, fmt.Errorf("policy %s: %w", name, store.ErrNotFound)
		}
		rules = append(rules, of...)
	}
	return rules, nil
}

// evaluate asks rules about a report, after what VEX documents and waivers set aside.
func (c *Court) evaluate(book *lawbook, mode policy.Mode, rules []policy.Rule, r *report.Report) (policy.Verdict, *policy.Input) {
	in, _ := c.input(book, r)
	return policy.Evaluate(in, mode, rules...), in
}

// input is what rules are asked about a report, and what is to be said of the VEX documents
// and waivers that set some of it aside.
func (c *Court) input(book *lawbook, r *report.Report) (*policy.Input, []policy.Remark) {
	in := r.PolicyInput(c.DB.Now())
	remarks := policy.ApplyVEX(in, book.vex...)
	return in, append(remarks, policy.ApplyWaivers(in, book.waivers...)...)
}

// next is when a judgment has to be made anew, though nothing has changed.
func (c *Court) next(book *lawbook) time.Time {
	now := c.DB.Now()
	next := now.Add(judgedDaily)
	for _, w := range book.waivers {
		if end := w.NextEnd(now); !end.IsZero() && end.Before(next) {
			next = end
		}
	}
	return next
}

// violationsOf makes one violation of each vulnerability in each package, by name, that
// a rule objects to, or of each package; else one of the rule.
func violationsOf(verdict policy.Verdict, r *report.Report, in *policy.Input) []store.Violation {
	packages, findings := byKeys(r, in)
	var out []store.Violation
	for _, v := range verdict.Violations {
		one := store.Violation{Policy: v.Policy, Rule: v.Rule, Decision: string(v.Decision), Message: v.Message, Receivers: v.Receivers}
		switch {
		case len(v.Findings) > 0:
			for _, key := range v.Findings {
				of := one
				of.Vulnerability = key.ID
				setSubject(&of, packages[key.PackageID], findings[key])
				out = append(out, of)
			}
		case len(v.PackageIDs) > 0:
			for _, id := range v.PackageIDs {
				of := one
				setSubject(&of, packages[id], nil)
				out = append(out, of)
			}
		default:
			out = append(out, one)
		}
	}
	return out
}

// byKeys finds what violations name.
func byKeys(r *report.Report, in *policy.Input) (map[string]*report.Package, map[policy.FindingKey]*policy.Finding) {
	packages := map[string]*report.Package{}
	for i := range r.Packages {
		packages[r.Packages[i].ID] = &r.Packages[i]
	}
	findings := map[policy.FindingKey]*policy.Finding{}
	for i := range in.Findings {
		f := &in.Findings[i]
		findings[policy.FindingKey{ID: f.ID, PackageID: f.PackageID}] = f
	}
	return packages, findings
}

// setSubject says what a violation is about.
func setSubject(v *store.Violation, p *report.Package, f *policy.Finding) {
	if p != nil {
		v.Package = p.Type + "/" + p.Name
	}
	if f != nil {
		v.Severity = f.Severity.Rank()
	}
	switch {
	case v.Vulnerability != "" && p != nil:
		v.Message = v.Vulnerability + " in " + p.Name + " " + p.Version
		if f != nil && f.FixedVersion != "" {
			v.Message += ", fixed in " + f.FixedVersion
		}
	case p != nil:
		v.Message = p.Name + " " + p.Version + ": " + v.Message
	}
}

// lawbook reads policies, waivers, VEX documents and watches, when they have changed.
func (c *Court) lawbook(ctx context.Context) (*lawbook, error) {
	version, err := c.DB.DecisionsVersion(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && c.last.version == version {
		return c.last, nil
	}
	book, err := c.readLawbook(ctx, version)
	if err == nil {
		c.last = book
	}
	return book, err
}

func (c *Court) readLawbook(ctx context.Context, version string) (*lawbook, error) {
	book := &lawbook{version: version, rules: map[string][]policy.Rule{}}
	loader, err := policy.NewLoader()
	if err != nil {
		return nil, err
	}
	for _, name := range policy.ReadyNames() {
		p, err := loader.Ready(name)
		if err != nil {
			return nil, err
		}
		book.rules[name] = p.Rules
	}
	// Watches first: the policies that they ask for are there until they don't any more.
	if book.watches, err = c.DB.Watches(ctx); err != nil {
		return nil, err
	}
	own, err := c.DB.Documents(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, d := range own {
		if book.rules[d.Name], err = loadRules(loader, d.Name, d.Text); err != nil {
			return nil, err
		}
	}
	exceptions, err := c.DB.Documents(ctx, false)
	if err != nil {
		return nil, err
	}
	for _, d := range exceptions {
		if err := book.except(&d); err != nil {
			return nil, err
		}
	}
	return book, nil
}

func (b *lawbook) except(d *store.Document) error {
	if d.Kind == store.VEXDocument {
		v, err := policy.ParseVEX(d.Name, []byte(d.Text))
		b.vex = append(b.vex, v)
		return err
	}
	w, err := policy.ParseWaivers(d.Name, []byte(d.Text))
	b.waivers = append(b.waivers, w)
	return err
}

// CheckDocument is an error for a document that can't be used, with the place of the
// mistake. It gives the receivers that the rules of a policy tell.
func CheckDocument(d *store.Document) (receivers []string, err error) {
	if err := checkDocumentName(d.Kind, d.Name); err != nil {
		return nil, err
	}
	if d.Kind != store.PolicyDocument {
		return nil, (&lawbook{}).except(d)
	}
	return ReceiversOf(d)
}

// ReceiversOf are the names of the receivers that the rules of a policy tell.
func ReceiversOf(d *store.Document) ([]string, error) {
	rules, err := policyRules(d.Name, d.Text)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range rules {
		names = append(names, rules[i].Receivers...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func checkDocumentName(kind, name string) error {
	if name == "" || strings.ContainsAny(name, "/\\\x00\n") || len(name) > 100 {
		return fmt.Errorf("name %q: want 1 to 100 characters without slashes", name)
	}
	if kind == store.PolicyDocument && slices.Contains(policy.ReadyNames(), name) {
		return fmt.Errorf("name %q: that is a policy that comes with the program; take another", name)
	}
	return nil
}

// policyRules are the rules of a policy's text.
func policyRules(name, text string) ([]policy.Rule, error) {
	loader, err := policy.NewLoader()
	if err != nil {
		return nil, err
	}
	return loadRules(loader, name, text)
}

func loadRules(loader *policy.Loader, name, text string) ([]policy.Rule, error) {
	policies, err := loader.Load(name, []byte(text))
	if err != nil {
		return nil, err
	}
	var rules []policy.Rule
	for _, p := range policies {
		rules = append(rules, p.Rules...)
	}
	return rules, nil
}

// Judge gives a report the verdict of all watches in whose scope an image of this name
// ("REGISTRY/REPOSITORY:TAG") is, for server.Options. What the rules of one of them ignore,
// the others see; the report says of it that it was set aside when all ignore it.
func (c *Court) Judge(ctx context.Context, name string, r *report.Report) error {
	book, err := c.lawbook(ctx)
	if err != nil {
		return err
	}
	// Waivers and rules know images by the names of the server, wherever they were had from.
	defer func(reference string) { r.Image.Reference = reference }(r.Image.Reference)
	r.Image.Reference = name
	in, remarks := c.input(book, r)
	verdict := policy.Verdict{Decision: policy.Pass, Rules: []string{}, Violations: []policy.Violation{}}
	asked := false
	for i := range book.watches {
		w := &book.watches[i]
		if w.Paused || !w.Scope.Names(name, r.Image.Labels, baseName(r)) {
			continue
		}
		one, seen, err := c.verdict(book, w, r)
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.Name, err)
		}
		if verdict = joinVerdicts(verdict, one); !asked {
			in, asked = seen, true
		} else {
			keepSetAside(in, seen)
		}
	}
	r.Decided(in, verdict, remarks)
	return nil
}

// keepSetAside lets what was set aside in one input be so only where it was in another
// of the same report, too.
func keepSetAside(in, other *policy.Input) {
	for i := range in.Findings {
		if other.Findings[i].Suppressed == nil {
			in.Findings[i].Suppressed = nil
		}
	}
	for i := range in.Packages {
		p, o := &in.Packages[i], &other.Packages[i]
		if o.Suppressed == nil {
			p.Suppressed = nil
		}
		if p.License != nil && o.License != nil && o.License.Suppressed == nil { // a package may have none
			p.License.Suppressed = nil
		}
	}
}

func baseName(r *report.Report) string {
	if r.Image.Base == nil {
		return ""
	}
	return r.Image.Base.Reference
}

// joinVerdicts has the graver decision, and all that either objects to, each once.
func joinVerdicts(a, b policy.Verdict) policy.Verdict {
	a.Decision = graver(a.Decision, b.Decision)
	for _, r := range b.Rules {
		if !slices.Contains(a.Rules, r) {
			a.Rules = append(a.Rules, r)
		}
	}
	for _, v := range b.Violations {
		same := func(o policy.Violation) bool {
			return o.Policy == v.Policy && o.Rule == v.Rule && o.Message == v.Message && o.Decision == v.Decision
		}
		if !slices.ContainsFunc(a.Violations, same) {
			a.Violations = append(a.Violations, v)
		}
	}
	return a
}
