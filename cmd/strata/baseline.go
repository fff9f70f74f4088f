package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"strata/internal/policy"
	"strata/internal/report"
)

// readBaseline reads what --baseline names: a report of -f json, or else an image,
// which is scanned as the one that it is a baseline for; scan is nil where no
// image can be read.
func readBaseline(d *decider, ref string, scan func(ref string) ([]*report.Report, error)) error {
	if ref == "" {
		return nil
	}
	saved, err := savedReport(ref)
	switch {
	case err != nil:
		return fmt.Errorf("--baseline: %w", err)
	case saved != nil:
		d.baselines = []*report.Report{saved}
		return nil
	case scan == nil:
		return fmt.Errorf("--baseline %s: want a report of strata scan -f json; only a scan can read an image", ref)
	}
	if d.baselines, err = scan(ref); err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	return nil
}

// savedReport reads a file that is a report of ours; nil when it is none.
func savedReport(path string) (*report.Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil // the name of an image, or what opening it as one will tell of
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil // a folder, or empty
	}
	head = bytes.TrimLeft(head[:n], "\ufeff \t\r\n")
	if !bytes.HasPrefix(head, []byte("{")) || !bytes.Contains(head, []byte(`"schema_version"`)) {
		return nil, nil
	}
	return readReport(path)
}

// compare marks what the baseline of the report's platform has too. The baseline
// is judged by the same VEX and waivers.
func (a *app) compare(d *decider, r *report.Report, in *policy.Input) ([]policy.Remark, error) {
	baseline := baselineFor(d.baselines, r.Image.Platform)
	if baseline == nil {
		return nil, fmt.Errorf("--baseline: it has no image for %s", r.Image.Platform)
	}
	before, _ := a.setAside(d, baseline)
	policy.ApplyBaseline(in, before)
	r.Baseline = &report.Baseline{Reference: baseline.Image.Reference, Digest: baseline.Image.Digest}
	var remarks []policy.Remark
	if baseline.Filtered != nil {
		remarks = append(remarks, policy.Remark{By: policy.OfBaseline, Message: "the baseline was filtered when it was written: what it leaves out counts as new"})
	}
	if !baseline.LookedFor(report.ScanVulnerabilities) {
		remarks = append(remarks, policy.Remark{By: policy.OfBaseline, Message: "nobody looked for vulnerabilities in the baseline: all count as new"})
	}
	if baseline.Incomplete() {
		remarks = append(remarks, policy.Remark{By: policy.OfBaseline, Message: "the baseline is incomplete: what could not be read of it counts as new"})
	}
	return remarks, nil
}

// baselineFor is the one of the platform, or the only one.
func baselineFor(baselines []*report.Report, platform string) *report.Report {
	for _, b := range baselines {
		if b.Image.Platform == platform {
			return b
		}
	}
	if len(baselines) == 1 {
		return baselines[0]
	}
	return nil
}
