package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/license"
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
	vex        []string
	baseline   string
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
	f.StringVar(&o.baseline, "baseline", "", "hold only against the image what this one has not: a `REFERENCE`, or a report of -f json")
	o.setAsideFlags(f)
}

// setAsideFlags are those of files that set findings aside.
func (o *policyOptions) setAsideFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.waivers, "waivers", nil, "`FILE` of waivers; may be given several times (default "+policy.WaiversFile+", where there is one)")
	f.StringArrayVar(&o.ignores, "ignore-file", nil, "`FILE` of what Trivy or Grype are told to ignore (default "+strings.Join(policy.IgnoreFiles(), ", ")+", where there are such); may be given several times")
	f.StringArrayVar(&o.vex, "vex", nil, "`FILE` or folder of VEX documents (OpenVEX, CycloneDX, CSAF), which say what does not affect the image; may be given several times")
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
	mode  policy.Mode
	rules []policy.Rule
	// classes of licences, where they are not those of the built-in table.
	classes license.Classes
	waivers []*policy.Waivers
	vex     []*policy.VEX
	// vexBytes is how much of them was read.
	vexBytes int64
	// remarks are on the files that these were read from.
	remarks []policy.Remark
	// baselines are the reports of the baseline, one for each platform.
	baselines []*report.Report
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
	if d.waivers, err = a.waivers(o); err != nil {
		return nil, err
	}
	return d, d.readVEX(o.vex)
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
func (a *app) decide(d *decider, r *report.Report) error {
	in, remarks := a.setAside(d, r)
	remarks = append(remarks, d.remarks...)
	if len(d.baselines) > 0 {
		more, err := a.compare(d, r, in)
		if err != nil {
			return err
		}
		remarks = append(remarks, more...)
	}
	r.Decided(in, policy.Evaluate(in, d.mode, d.rules...), remarks)
	return nil
}

// setAside applies VEX and waivers.
func (a *app) setAside(d *decider, r *report.Report) (*policy.Input, []policy.Remark) {
	in := r.PolicyInput(a.now())
	in.Classes = d.classes
	remarks := policy.ApplyVEX(in, d.vex...)
	return in, append(remarks, policy.ApplyWaivers(in, d.waivers...)...)
}
