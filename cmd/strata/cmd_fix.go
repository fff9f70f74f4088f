package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/match"
	"strata/internal/remedy"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/store"
)

const fixExamples = `  strata fix app:1.2                                  what to change, and what it removes
  strata fix --dockerfile Dockerfile app:1.2          in the lines of the Dockerfile
  strata fix --dockerfile Dockerfile -f diff app:1.2 | patch -p1
  strata fix --tags 5 registry:ghcr.io/org/app:1.2    look for newer tags of the base
  strata fix --candidate debian:12.11 app:1.2         hold a base against the one there is
  strata fix -f markdown -o plan.md app:1.2           for a pull request`

// fixOptions are the flags of fix.
type fixOptions struct {
	imageOptions
	advisoryOptions
	outputOptions

	dockerfile string
	target     string
	candidates []string
	tags       int
	color      string
	incomplete bool
	// setAside are the files that set findings aside, which need no fix then.
	setAside policyOptions
}

func newFixCommand(a *app) *cobra.Command {
	o := &fixOptions{}
	cmd := &cobra.Command{
		Use:     "fix [flags] REFERENCE",
		Short:   "Plan the fewest changes that remove the most risk from an image",
		Example: fixExamples,
		Long: `Plan what to change so that an image has fewer findings, those changes first that
remove most risk: a newer base image, the instruction of a layer with the version
to ask for, the packages of a lock file, an upgrade of what the base brought. And
say what stays, and why.

A newer base is looked for among the images of the base's repository that were
scanned before, among those given by --candidate, and with --tags in its
registry. One that is worse is never proposed.

With --dockerfile, instructions are found in it and changed there: -f diff is for
patch -p1 and git apply.

Exit codes:
  0  there is a plan, be it that nothing is to be done
  1  error
  3  incomplete: a layer or the advisories could not be had
     (--allow-incomplete accepts it)`,
		Args: oneArgument("reference"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.fix(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Plan", o.planFlags)
	flagGroup(f, "Waivers and VEX", o.setAside.setAsideFlags)
	flagGroup(f, "Advisories", o.advisoryOptions.flags)
	o.imageOptions.flags(f)
	return cmd
}

func (o *fixOptions) planFlags(f *pflag.FlagSet) {
	f.StringVar(&o.dockerfile, "dockerfile", "", "`FILE` that the image was built from")
	f.StringVar(&o.target, "target", "", "`STAGE` of the Dockerfile that was built (default the last)")
	f.StringArrayVar(&o.candidates, "candidate", nil, "`REFERENCE` of an image that may become the base; may be given several times")
	f.IntVar(&o.tags, "tags", 0, "scan the `N` newest tags of the base's form in its registry, too")
	o.outputOptions.flags(f, strings.Join(report.PlanFormats(), ", "))
	f.StringVar(&o.color, "color", "auto", "colours in text: `WHEN` is auto, always or never")
	f.BoolVar(&o.incomplete, "allow-incomplete", false, "accept that a layer or the advisories could not be had")
}

// check finds mistakes in the flags before any work is done.
func (o *fixOptions) check() ([]output, error) {
	if err := o.imageOptions.check(); err != nil {
		return nil, err
	}
	if err := o.advisoryOptions.check(); err != nil {
		return nil, err
	}
	if o.tags < 0 || o.tags > 100 {
		return nil, fmt.Errorf("--tags %d: want a number from 0 to 100", o.tags)
	}
	if o.allPlatforms {
		return nil, errors.New("--all-platforms: a plan is for one image, give --platform")
	}
	if o.target != "" && o.dockerfile == "" {
		return nil, errors.New("--target: names a stage of the --dockerfile, which is not given")
	}
	if err := checkColor(o.color); err != nil {
		return nil, err
	}
	outputs, err := o.outputs(report.PlanFormats()[0], report.CheckPlanFormat)
	if err == nil && o.dockerfile == "" && slices.ContainsFunc(outputs, func(out output) bool { return out.format == "diff" }) {
		err = errors.New("--format diff: changes the Dockerfile, which --dockerfile has to name")
	}
	return outputs, err
}

// fix runs the command.
func (a *app) fix(ctx context.Context, ref string, o *fixOptions) (err error) {
	outputs, err := o.check()
	if err != nil {
		return err
	}
	decider, err := a.decider(&o.setAside)
	if err != nil {
		return err
	}
	in := remedy.Input{Target: o.target}
	if in.Dockerfile, err = readDockerfile(o.dockerfile); err != nil {
		return err
	}
	ctx, cancel := o.limit(ctx)
	defer cancel()
	r, err := a.planInput(ctx, ref, o, &in)
	if err != nil {
		return timeoutCause(ctx, err)
	}
	if err := a.decide(decider, r); err != nil {
		return err
	}
	leaveOut(in.Match, r)
	plan, err := remedy.New(in)
	if err != nil {
		return err
	}
	plan.Incomplete = r.Incomplete()
	for _, p := range r.Problems {
		if p.Incomplete || p.Layer < 0 && p.Analyzer == "" { // the latter are about what was asked
			plan.Notes = append(plan.Notes, problemNote(p))
		}
	}
	for _, out := range outputs {
		if err := a.create(out, func(w io.Writer) error { return a.writePlan(w, out.format, plan, o) }); err != nil {
			return err
		}
		if out.format == "diff" && plan.Diff == "" {
			a.say("%s: nothing in it is to be changed; the plan without -f diff tells more", o.dockerfile)
		}
	}
	if r.Incomplete() && !o.incomplete {
		return exitCode(exitIncomplete)
	}
	return nil
}

// leaveOut marks the findings that waivers, VEX and policies set aside.
func leaveOut(m *match.Result, r *report.Report) {
	type key struct{ pkg, id string }
	aside := map[key]*report.Suppression{}
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Suppressed != nil {
			aside[key{f.PackageID, f.ID}] = f.Suppressed
		}
	}
	for i := range m.Findings {
		f := &m.Findings[i]
		if s := aside[key{f.PackageID, f.ID}]; s != nil && f.Suppressed == nil {
			f.Suppressed = &match.Suppression{By: string(s.By), Reason: s.Reason}
		}
	}
}

func problemNote(p report.Problem) string {
	if p.Layer >= 0 {
		return fmt.Sprintf("layer %d: %s", p.Layer, p.Message)
	}
	return p.Message
}

func (a *app) writePlan(w io.Writer, format string, plan *remedy.Plan, o *fixOptions) error {
	return report.WritePlan(w, format, plan, report.PlanOptions{Width: terminalWidth(w), Color: useColor(w, o.color, a.env)})
}

// readDockerfile reads the file that the flag names, if it does. Diffs name it as
// seen from the working directory.
func readDockerfile(path string) (*remedy.Dockerfile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--dockerfile: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 2<<20)) // the parser has the lower bound
	if err != nil {
		return nil, fmt.Errorf("--dockerfile: %w", err)
	}
	name := filepath.Clean(path)
	if filepath.IsAbs(name) {
		name = filepath.Base(path)
		if dir, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
				name = rel
			}
		}
	}
	return remedy.ParseDockerfile(filepath.ToSlash(name), text)
}

// planInput scans the image and what may become its base, and holds them against
// the advisories. The report tells what was incomplete.
func (a *app) planInput(ctx context.Context, ref string, o *fixOptions, in *remedy.Input) (r *report.Report, err error) {
	o.noFetch = o.offline
	results, err := a.inventories(ctx, ref, &o.imageOptions)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("%s: names %d images, and a plan is for one: give --platform", ref, len(results))
	}
	res := results[0]
	bases, err := a.candidates(ctx, res, o)
	if err != nil {
		return nil, err
	}
	db, from, err := a.openAdvisoriesFor(ctx, &o.advisoryOptions, ecosystemsOf(append(results, bases...)))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	found, err := match.Find(ctx, &res.Inventory, db, match.Options{Now: a.now, Upgrades: true})
	if err != nil {
		return nil, err
	}
	in.Image, in.Inventory, in.Match = res.Image, &res.Inventory, &found
	for _, b := range bases {
		m, err := match.Find(ctx, &b.Inventory, db, match.Options{Now: a.now})
		if err != nil {
			return nil, err
		}
		in.Candidates = append(in.Candidates, remedy.Candidate{Image: b.Image, Inventory: &b.Inventory, Match: &m})
	}
	s := scannedOf(res, &found)
	s.Advisories, s.Problems = from.advisories, from.problems
	return report.New(s), nil
}

// candidates are the images that may become the base: those of its repository
// that were seen before, as far as their layers are known, and those asked for.
func (a *app) candidates(ctx context.Context, res *scan.Result, o *fixOptions) (out []*scan.Result, err error) {
	bars := newProgress(a, a.quiet)
	defer bars.Close()
	scanner := o.scanner(a, bars)
	var cache *store.Cache
	if !o.noCache {
		if cache, err = a.openCache(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, cache.Close()) }()
		scanner.Cache = cache
	}
	base := res.Image.Base
	asked := slices.Clone(o.candidates)
	if o.tags > 0 {
		tags, err := a.newerTags(ctx, res, o)
		if err != nil {
			return nil, err
		}
		asked = append(asked, tags...)
	}
	seen := map[string]bool{}
	for _, ref := range asked {
		r, err := a.scanCandidate(ctx, scanner, cache, ref, res, o)
		if err != nil {
			bars.Abort()
			return nil, err
		}
		if r != nil && !seen[string(r.Image.ConfigDigest)] {
			seen[string(r.Image.ConfigDigest)] = true
			out = append(out, r)
		}
	}
	if cache == nil || base == nil || base.Repository == "" {
		return out, nil
	}
	known, err := knownCandidates(ctx, scanner, cache, res.Image)
	for _, r := range known {
		if !seen[string(r.Image.ConfigDigest)] {
			out = append(out, r)
		}
	}
	return out, err
}
