package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/policy"
	"strata/internal/report"
)

// policyOptions are the flags of commands that decide over reports.
type policyOptions struct {
	failOn     string
	policies   []string
	enforce    bool
	warn       bool
	waivers    []string
	ignores    []string
	noIgnores  bool
	exitCode   int
	incomplete bool
}

func (o *policyOptions) flags(f *pflag.FlagSet) {
	flagGroup(f, "Exit code", o.verdictFlags)
	flagGroup(f, "Policy", o.policyFlags)
}

func (o *policyOptions) verdictFlags(f *pflag.FlagSet) {
	f.StringVar(&o.failOn, "fail-on", "", "fail when a finding has this `SEVERITY` or a graver one, shown or not")
	f.IntVar(&o.exitCode, "exit-code", exitViolated, "exit with `N` when the image fails")
	f.BoolVar(&o.incomplete, "allow-incomplete", false, "accept that a layer or the advisories could not be had")
}

func (o *policyOptions) policyFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.policies, "policy", nil, "decide by the policy of this `NAME` ("+strings.Join(policy.ReadyNames(), ", ")+") or YAML file; may be given several times")
	f.BoolVar(&o.enforce, "enforce", false, "fail also where rules only warn")
	f.BoolVar(&o.warn, "warn", false, "only warn where rules fail")
	f.StringArrayVar(&o.waivers, "waivers", nil, "`FILE` of waivers; may be given several times (default "+policy.WaiversFile+", where there is one)")
	f.StringArrayVar(&o.ignores, "ignore-file", nil, "`FILE` of what Trivy or Grype are told to ignore (default "+strings.Join(policy.IgnoreFiles(), ", ")+", where there are such); may be given several times")
	f.BoolVar(&o.noIgnores, "no-ignore-files", false, "read no waivers and no ignore files but those given")
}

func (o *policyOptions) mode() policy.Mode {
	switch {
	case o.enforce:
		return policy.Enforce
	case o.warn:
		return policy.WarnOnly
	}
	return policy.AsWritten
}

// result is the exit code over all images.
func (o *policyOptions) result(reports []*report.Report) error {
	code := exitPass
	for _, r := range reports {
		switch {
		case r.Verdict.Decision == policy.Fail && o.exitCode != exitPass:
			return exitCode(o.exitCode)
		case r.Incomplete() && !o.incomplete:
			code = exitIncomplete
		}
	}
	if code != exitPass {
		return exitCode(code)
	}
	return nil
}

// A decider has read all that decisions are made by.
type decider struct {
	mode    policy.Mode
	rules   []policy.Rule
	waivers []*policy.Waivers
}

// decider reads policies, waivers and VEX before any work is done, so that
// mistakes in them show at once.
func (a *app) decider(o *policyOptions) (*decider, error) {
	if o.exitCode < 0 || o.exitCode > 255 {
		return nil, fmt.Errorf("--exit-code %d: want a number from 0 to 255", o.exitCode)
	}
	if o.enforce && o.warn {
		return nil, errors.New("--enforce and --warn exclude each other")
	}
	d := &decider{mode: o.mode()}
	var err error
	if d.rules, err = a.rules(o); err != nil {
		return nil, err
	}
	d.waivers, err = a.waivers(o)
	return d, err
}

// rules are those of --fail-on, of the settings file, and of --policy.
func (a *app) rules(o *policyOptions) ([]policy.Rule, error) {
	var rules []policy.Rule
	if o.failOn != "" {
		s, err := policy.ParseSeverity(o.failOn)
		if err != nil {
			return nil, fmt.Errorf("--fail-on: %w", err)
		}
		rule, err := policy.FailOn(s)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	policies, err := a.policies(o.policies)
	for _, p := range policies {
		rules = append(rules, p.Rules...)
	}
	return rules, err
}

// policies are those of the settings file, and the named.
func (a *app) policies(names []string) ([]policy.Policy, error) {
	if len(names) == 0 && a.settings.text == nil {
		return nil, nil
	}
	loader, err := policy.NewLoader()
	if err != nil {
		return nil, err
	}
	policies, err := loader.Settings(a.settings.path, a.settings.text)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := loadPolicy(loader, name)
		if err != nil {
			return nil, fmt.Errorf("--policy: %w", err)
		}
		policies = append(policies, p...)
	}
	return policies, nil
}

// loadPolicy reads a file, or else the policy of that name that comes with the
// program: a name has neither a slash nor a dot.
func loadPolicy(loader *policy.Loader, name string) ([]policy.Policy, error) {
	if !strings.ContainsAny(name, `/\.`) {
		p, err := loader.Ready(name)
		if err == nil {
			return []policy.Policy{p}, nil
		}
		if _, missing := os.Stat(name); missing != nil {
			return nil, fmt.Errorf("%w, or give a file", err)
		}
	}
	text, err := readBounded(name, policy.MaxFile)
	if err != nil {
		return nil, err
	}
	return loader.Load(name, text)
}

// waivers are those of the files that were given, and of those that lie in the
// working directory. These are told of: they may come with a checkout that is
// not the user's own.
func (a *app) waivers(o *policyOptions) ([]*policy.Waivers, error) {
	var all []*policy.Waivers
	read := func(path string, found bool, parse func(string, []byte) (*policy.Waivers, error)) error {
		text, err := readBounded(path, policy.MaxFile)
		if found && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := parse(path, text)
		if err != nil {
			return err
		}
		if found && w.Len() > 0 {
			a.say("%s of %s in force", counted(w.Len(), "waiver"), path)
		}
		all = append(all, w)
		return nil
	}
	given := o.waivers
	if len(given) == 0 && !o.noIgnores {
		if err := read(policy.WaiversFile, true, policy.ParseWaivers); err != nil {
			return nil, err
		}
	}
	for _, path := range given {
		if err := read(path, false, policy.ParseWaivers); err != nil {
			return nil, fmt.Errorf("--waivers: %w", err)
		}
	}
	if len(o.ignores) == 0 && !o.noIgnores {
		for _, path := range policy.IgnoreFiles() {
			if err := read(path, true, policy.ParseIgnoreFile); err != nil {
				return nil, err
			}
		}
	}
	for _, path := range o.ignores {
		if err := read(path, false, policy.ParseIgnoreFile); err != nil {
			return nil, fmt.Errorf("--ignore-file: %w", err)
		}
	}
	return all, nil
}

// readBounded reads a file that has at most so many bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: has more than %d MiB", filepath.Clean(path), limit>>20)
	}
	return b, err
}

// decide gives the report its verdict, and all that comes before it: what VEX,
// waivers and rules set aside, and what the baseline has.
func (a *app) decide(d *decider, r *report.Report) {
	in := r.PolicyInput(a.now())
	remarks := policy.ApplyWaivers(in, d.waivers...)
	r.Decided(in, policy.Evaluate(in, d.mode, d.rules...), remarks)
}
