package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/store"
)

// A Trial asks what a policy would decide before it is saved. Nothing is kept of it.
type Trial struct {
	// Name by which it would be saved; may be empty. A policy that is saved by it counts
	// as replaced.
	Name, Text string
	// Scope of the images, that of a watch; nil for all that have a tag.
	Scope *store.WatchScope
	Mode  policy.Mode
	// Sight are globs of the repositories that who asks may see; nil for all.
	Sight []string
	// CheckOnly asks for the mistakes in the text and nothing else.
	CheckOnly bool
	// MaxImages and MaxTime bound how many images are judged, and MaxItems how many are
	// told of.
	MaxImages, MaxItems int
	MaxTime             time.Duration
}

// Tried is what a trial gives. With mistakes, nothing was judged.
type Tried struct {
	Mistakes []policy.Mistake `json:"mistakes" doc:"what is wrong with the text; line and column count from 1, 0 is not known"`
	// Images in scope, and how many of these were judged.
	Images int `json:"images" doc:"images in scope that a tag names now"`
	Judged int `json:"judged" doc:"of these, how many were judged; the numbers below are of these"`
	// Cut is why not all were judged; Unreadable those that could not be.
	Cut        string `json:"cut,omitempty" enum:"images,time" doc:"which bound was met first when not all were judged: those that were are a sample over all of them, the same each time"`
	Unreadable int    `json:"unreadable,omitempty" doc:"images that could not be judged; the log has the reason"`
	Fail       int    `json:"fail"`
	Warn       int    `json:"warn"`
	Pass       int    `json:"pass"`
	Incomplete int    `json:"incomplete" doc:"images of which something is not known, such as a layer that could not be read, whatever is decided"`
	// Changed images are those of which the server would decide otherwise.
	Changed  int `json:"changed" doc:"images whose verdict of all watches would be another; stricter and milder together"`
	Stricter int `json:"stricter"`
	Milder   int `json:"milder"`
	// Rules, with how many images each objects to.
	Rules []TriedRule  `json:"rules"`
	Items []TriedImage `json:"items" doc:"images that are objected to, or whose verdict would change: the gravest first"`
	// More is how many such there are besides.
	More int `json:"more,omitempty" doc:"how many such images there are besides"`
}

// A TriedRule is a rule of the policy.
type TriedRule struct {
	Policy  string `json:"policy"`
	Rule    string `json:"rule"`
	Ignores bool   `json:"ignores,omitempty" doc:"it sets aside, and objects to nothing"`
	Images  int    `json:"images" doc:"that it objects to"`
}

// A TriedImage is an image that was judged.
type TriedImage struct {
	Image int64  `json:"image"`
	Name  string `json:"name" doc:"the name by which it was judged"`
	// Decision of the policy alone; Now and Then are the server's: without a word when no
	// watch judges the image.
	Decision       policy.Decision  `json:"decision" enum:"pass,warn,fail" doc:"of this policy alone"`
	Now            policy.Decision  `json:"now,omitempty" enum:"pass,warn,fail" doc:"of all watches now; absent when none is over the image"`
	Then           policy.Decision  `json:"then,omitempty" enum:"pass,warn,fail" doc:"of all watches, were the policy saved: in the watches that ask for it by name, and where scope is given or none does, in one of its own"`
	Incomplete     bool             `json:"incomplete,omitempty"`
	Violations     []TriedViolation `json:"violations"`
	MoreViolations int              `json:"more_violations,omitempty"`
}

// A TriedViolation is an objection of a rule.
type TriedViolation struct {
	Policy       string          `json:"policy"`
	Rule         string          `json:"rule"`
	Decision     policy.Decision `json:"decision" enum:"warn,fail"`
	Message      string          `json:"message"`
	Findings     []TriedFinding  `json:"findings" doc:"what it is about; without a vulnerability for rules about packages and licences"`
	MoreFindings int             `json:"more_findings,omitempty"`
}

// A TriedFinding is a vulnerability in a package, or a package, that is objected to.
type TriedFinding struct {
	Vulnerability string `json:"vulnerability,omitempty"`
	Package       string `json:"package,omitempty" doc:"as npm/lodash"`
	Version       string `json:"version,omitempty"`
	Severity      string `json:"severity,omitempty"`
	FixedVersion  string `json:"fixed_version,omitempty"`
}

// How much of one image is told.
const (
	maxTriedViolations = 20
	maxTriedFindings   = 20
)

// Try judges the current images by a policy that is not saved, and tells what it would
// change. An error wraps store.ErrInvalid for a name that no policy can have.
func (c *Court) Try(ctx context.Context, t *Trial) (*Tried, error) {
	out := &Tried{Mistakes: []policy.Mistake{}, Rules: []TriedRule{}, Items: []TriedImage{}}
	name := t.Name
	if name == "" {
		name = "policy"
	}
	if err := checkDocumentName(store.PolicyDocument, name); err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrInvalid, err)
	}
	rules, err := policyRules(name, t.Text)
	if err != nil {
		out.Mistakes = policy.Mistakes(err)
		return out, nil
	}
	for i := range rules {
		out.Rules = append(out.Rules, TriedRule{Policy: rules[i].Policy, Rule: rules[i].Name, Ignores: rules[i].Ignores})
	}
	if t.CheckOnly {
		return out, nil
	}
	r := &trial{Trial: t, court: c, rules: rules, out: out}
	if r.book, err = c.lawbook(ctx); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("trial of policy %s: %w", name, err)
	}
	return out, nil
}

// A trial is one that goes on.
type trial struct {
	*Trial
	court *Court
	book  *lawbook
	rules []policy.Rule
	out   *Tried
}

// run judges image by image until all are, or a bound is met.
func (t *trial) run(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, t.MaxTime)
	defer cancel()
	images, err := t.court.DB.CurrentImages(ctx, t.scope(), t.Sight)
	if err != nil {
		return err
	}
	t.out.Images = len(images)
	if len(images) > t.MaxImages {
		t.out.Cut = "images"
	}
	spread(images)
	for batch := range slices.Chunk(images[:min(len(images), t.MaxImages)], judgeBatch) {
		err := t.batch(bounded, batch)
		if bounded.Err() != nil && ctx.Err() == nil {
			t.out.Cut = "time"
			break
		}
		if err != nil {
			return err
		}
	}
	t.trim(t.MaxItems)
	return ctx.Err()
}

// spread puts ids in an order in which any first part is a sample of them all, old and
// new: that of a multiplicative hash.
func spread(ids []int64) {
	const golden = 0x9E3779B97F4A7C15
	slices.SortFunc(ids, func(a, b int64) int { return cmp.Compare(uint64(a)*golden, uint64(b)*golden) })
}

func (t *trial) scope() *store.WatchScope {
	if t.Scope == nil {
		return &store.WatchScope{}
	}
	return t.Scope
}

func (t *trial) batch(ctx context.Context, images []int64) error {
	names, err := t.court.DB.CurrentNames(ctx, images, t.Sight)
	if err != nil {
		return err
	}
	for _, id := range images {
		err := t.image(ctx, id, names[id])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, store.ErrNotFound) {
			t.out.Images-- // gone since
			continue
		}
		if err != nil {
			t.out.Unreadable++
			if t.court.Log != nil {
				t.court.Log.WarnContext(ctx, "policy not tried on an image", "image", id, "error", err)
			}
		}
	}
	return nil
}

// image judges one image.
func (t *trial) image(ctx context.Context, id int64, names []store.TaggedName) error {
	name := firstName(t.scope(), names)
	if name == "" {
		return store.ErrNotFound
	}
	r, err := t.court.Reports.Report(ctx, id)
	if err != nil {
		return err
	}
	if _, err := t.court.Reports.LimitBase(ctx, r, t.Sight); err != nil {
		return err
	}
	r.Image.Reference = name
	verdict, in := t.court.evaluate(t.book, t.Mode, t.rules, r)
	row := TriedImage{Image: id, Name: name, Decision: verdict.Decision, Incomplete: r.Incomplete()}
	if row.Now, row.Then, err = t.server(r, names, verdict.Decision); err != nil {
		return err
	}
	t.count(&row, &verdict)
	if len(verdict.Violations) > 0 || changes(&row) != 0 {
		row.Violations = triedViolations(&verdict, r, in)
		row.MoreViolations = len(verdict.Violations) - len(row.Violations)
		t.out.Items = append(t.out.Items, row)
	}
	if len(t.out.Items) >= 2*t.MaxItems {
		t.trim(t.MaxItems)
	}
	return nil
}

// firstName is that by which an image is in a scope; empty for none.
func firstName(s *store.WatchScope, names []store.TaggedName) string {
	for i := range names {
		if s.Fits(&names[i]) {
			return names[i].String()
		}
	}
	return ""
}

// server gives the verdict of all watches over the image by its names in sight, as it is
// and as it would be; both are empty when there is none.
func (t *trial) server(r *report.Report, names []store.TaggedName, alone policy.Decision) (now, then policy.Decision, err error) {
	asked := false
	for i := range t.book.watches {
		w := &t.book.watches[i]
		asks := t.Name != "" && slices.Contains(w.Policies, t.Name)
		asked = asked || asks && !w.Paused
		name := firstName(&w.Scope, names)
		if w.Paused || name == "" {
			continue
		}
		r.Image.Reference = name
		rules, err := t.book.rulesOf(w, "", nil)
		if err != nil {
			return "", "", err
		}
		verdict, _ := t.court.evaluate(t.book, policy.Mode(w.Mode), rules, r)
		now = graver(now, verdict.Decision)
		if asks {
			if rules, err = t.book.rulesOf(w, t.Name, t.rules); err != nil {
				return "", "", err
			}
			verdict, _ = t.court.evaluate(t.book, policy.Mode(w.Mode), rules, r)
		}
		then = graver(then, verdict.Decision)
	}
	if t.Scope != nil || !asked {
		then = graver(then, alone)
	}
	return now, then, nil
}

// gravity orders decisions; none is as good as pass.
func gravity(d policy.Decision) int {
	return max(0, slices.Index([]policy.Decision{policy.Pass, policy.Warn, policy.Fail}, d))
}

func graver(a, b policy.Decision) policy.Decision {
	if a == "" || gravity(b) > gravity(a) {
		return b
	}
	return a
}

// changes is 1 for an image that would be judged stricter, -1 milder, and 0 the same.
func changes(row *TriedImage) int { return cmp.Compare(gravity(row.Then), gravity(row.Now)) }

func (t *trial) count(row *TriedImage, verdict *policy.Verdict) {
	out := t.out
	out.Judged++
	switch row.Decision {
	case policy.Pass:
		out.Pass++
	case policy.Warn:
		out.Warn++
	default:
		out.Fail++
	}
	if row.Incomplete {
		out.Incomplete++
	}
	switch changes(row) {
	case 1:
		out.Stricter++
		out.Changed++
	case -1:
		out.Milder++
		out.Changed++
	}
	for i := range out.Rules {
		of := &out.Rules[i]
		if slices.ContainsFunc(verdict.Violations, func(v policy.Violation) bool { return v.Policy == of.Policy && v.Rule == of.Rule }) {
			of.Images++
		}
	}
}

// trim keeps the gravest images, and of these those first that would be judged
// otherwise.
func (t *trial) trim(most int) {
	slices.SortFunc(t.out.Items, func(a, b TriedImage) int {
		return cmp.Or(cmp.Compare(gravity(b.Decision), gravity(a.Decision)), cmp.Compare(changes(&b), changes(&a)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Image, b.Image))
	})
	if n := len(t.out.Items) - most; n > 0 {
		t.out.More += n
		clear(t.out.Items[most:])
		t.out.Items = t.out.Items[:most]
	}
}

// triedViolations are the first objections, each with the first things it is about.
func triedViolations(verdict *policy.Verdict, r *report.Report, in *policy.Input) []TriedViolation {
	packages, findings := byKeys(r, in)
	out := []TriedViolation{}
	for _, v := range verdict.Violations[:min(len(verdict.Violations), maxTriedViolations)] {
		one := TriedViolation{Policy: v.Policy, Rule: v.Rule, Decision: v.Decision, Message: v.Message, Findings: []TriedFinding{}}
		keys := v.Findings
		if len(keys) == 0 {
			for _, id := range v.PackageIDs {
				keys = append(keys, policy.FindingKey{PackageID: id})
			}
		}
		for _, key := range keys[:min(len(keys), maxTriedFindings)] {
			one.Findings = append(one.Findings, triedFinding(key, packages[key.PackageID], findings[key]))
		}
		one.MoreFindings = len(keys) - len(one.Findings)
		out = append(out, one)
	}
	return out
}

func triedFinding(key policy.FindingKey, p *report.Package, f *policy.Finding) TriedFinding {
	out := TriedFinding{Vulnerability: key.ID}
	if p != nil {
		out.Package, out.Version = p.Type+"/"+p.Name, p.Version
	}
	if f != nil {
		out.Severity, out.FixedVersion = string(f.Severity), f.FixedVersion
	}
	return out
}
