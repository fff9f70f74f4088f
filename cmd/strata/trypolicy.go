package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"strata/internal/jobs"
	"strata/internal/policy"
	"strata/internal/report"
	"strata/internal/server"
	"strata/internal/store"
)

// tryOptions are the flags of policy try: those of a scan, and those about the images of
// a server.
type tryOptions struct {
	scanOptions
	as                 string
	repositories, tags []string
	sample             int
}

func (o *tryOptions) serverFlags(f *pflag.FlagSet) {
	f.StringVar(&o.server, "server", "", "without a report: try the policy on the images of the server at this `URL`")
	f.StringVar(&o.serverToken, "server-token", "", "API `TOKEN` for the server; better given as STRATA_SERVER_TOKEN")
	f.StringVar(&o.caFile, "ca-file", "", "PEM `FILE` of certificates to trust as well")
	f.BoolVar(&o.insecure, "insecure", false, "allow plain http, and certificates that can't be checked")
	f.StringVar(&o.as, "as", "", "as if it were saved by this `NAME`: in the place of that policy, in the watches that ask for it")
	f.StringArrayVar(&o.repositories, "repositories", nil, "only images of repositories like this `GLOB`, as harbor/shop/**; may be given several times")
	f.StringArrayVar(&o.tags, "tags", nil, "only images with a tag like this `GLOB`; may be given several times")
	f.IntVar(&o.sample, "sample", 1000, "judge at most `N` images: where there are more, a sample over all of them")
}

// tryOnServer asks a server what a policy would decide about its images.
func (a *app) tryOnServer(ctx context.Context, o *tryOptions) error {
	if o.server == "" {
		return errors.New("want the file of a report, or --server URL")
	}
	trial, err := o.trial()
	if err != nil {
		return err
	}
	outputs, err := o.outputs("table", func(format string) error {
		if format != "table" && format != "json" {
			return fmt.Errorf("%s: with --server want table or json", report.Safe(format))
		}
		return nil
	})
	if err != nil {
		return err
	}
	to, err := o.submitter()
	if err != nil {
		return err
	}
	body, err := json.Marshal(trial)
	if err != nil {
		return err
	}
	answer := &jobs.Tried{}
	if err := to.send(ctx, http.MethodPost, "api/v1/policies/try", "application/json", body, answer); err != nil {
		return err
	}
	if len(answer.Mistakes) > 0 {
		return mistakesError(o.policies[0], answer.Mistakes)
	}
	for _, out := range outputs {
		if err := a.create(out, func(w io.Writer) error { return writeTried(w, out.format, answer) }); err != nil {
			return err
		}
	}
	return nil
}

// trial reads the policy, so that most mistakes in it are told without the server.
func (o *tryOptions) trial() (*server.PolicyTrial, error) {
	switch {
	case len(o.policies) != 1:
		return nil, errors.New("--server: want one --policy to try")
	case o.enforce && o.warn:
		return nil, errors.New("--enforce and --warn exclude each other")
	case o.sample < 1:
		return nil, fmt.Errorf("--sample %d: want 1 or more", o.sample)
	}
	loader, err := policy.NewLoader()
	if err != nil {
		return nil, err
	}
	name := o.policies[0]
	if _, err := loadPolicy(loader, name); err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	text, err := policy.ReadyText(name)
	if err != nil {
		if text, err = readBounded(name, policy.MaxFile); err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
	}
	const patience = 60 // seconds
	trial := &server.PolicyTrial{Text: string(text), Name: o.as, Mode: string(o.mode()), Images: o.sample, Seconds: patience}
	if len(o.repositories)+len(o.tags) > 0 {
		trial.Scope = &store.WatchScope{Repositories: o.repositories, Tags: o.tags}
	}
	return trial, nil
}

func mistakesError(file string, mistakes []policy.Mistake) error {
	var errs []error
	for _, m := range mistakes {
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", file, m.Line, m.Column, report.Safe(m.Message)))
	}
	return errors.Join(errs...)
}

func writeTried(w io.Writer, format string, t *jobs.Tried) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(t)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	triedTable(table, t)
	return table.Flush()
}

func triedTable(w io.Writer, t *jobs.Tried) {
	fmt.Fprintf(w, "%s: %d fail, %d warn, %d pass\n", plural(t.Judged, "image"), t.Fail, t.Warn, t.Pass)
	if t.Judged < t.Images {
		why := map[string]string{"images": ": a sample over all of them (--sample)", "time": ": as many as there was time for, a sample over all of them"}
		fmt.Fprintf(w, "of %s in scope only these %d were judged%s\n", plural(t.Images, "image"), t.Judged, why[t.Cut])
	}
	if t.Unreadable > 0 {
		fmt.Fprintf(w, "%s could not be judged; the server's log has the reason\n", plural(t.Unreadable, "image"))
	}
	if t.Incomplete > 0 {
		fmt.Fprintf(w, "of %s something is not known, such as advisories or a layer\n", plural(t.Incomplete, "image"))
	}
	fmt.Fprintf(w, "verdicts of the server that would change: %d, of these %d stricter and %d milder\n", t.Changed, t.Stricter, t.Milder)
	fmt.Fprintln(w, "\nRULE\tIMAGES")
	for _, r := range t.Rules {
		images := fmt.Sprint(r.Images)
		if r.Ignores {
			images = "ignores"
		}
		fmt.Fprintf(w, "%s\t%s\n", report.Safe(r.Policy+": "+r.Rule), images)
	}
	if len(t.Items) == 0 {
		return
	}
	fmt.Fprintln(w, "\nIMAGE\tPOLICY\tSERVER NOW\tTHEN\tWHY")
	for i := range t.Items {
		m := &t.Items[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", report.Safe(m.Name), m.Decision, orDash(m.Now), orDash(m.Then), report.Safe(triedWhy(m)))
	}
	if t.More > 0 {
		fmt.Fprintf(w, "… and %d more\n", t.More)
	}
}

func orDash(d policy.Decision) string {
	if d == "" {
		return "-"
	}
	return string(d)
}

// triedWhy is the first objection to an image, with the first things it is about, and
// how many more there are.
func triedWhy(m *jobs.TriedImage) string {
	if len(m.Violations) == 0 {
		return ""
	}
	v := &m.Violations[0]
	var about []string
	for _, f := range v.Findings[:min(len(v.Findings), 3)] {
		about = append(about, strings.Join(slices.DeleteFunc([]string{f.Vulnerability, f.Package, f.Version}, func(s string) bool { return s == "" }), " "))
	}
	out := v.Rule + ": " + v.Message
	if len(about) > 0 {
		out += " (" + strings.Join(about, ", ")
		if n := len(v.Findings) + v.MoreFindings - len(about); n > 0 {
			out += fmt.Sprintf(", +%d", n)
		}
		out += ")"
	}
	if n := len(m.Violations) + m.MoreViolations - 1; n > 0 {
		out += fmt.Sprintf("; +%d", n)
	}
	return out
}
