package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"strata/internal/advisory"
	"strata/internal/analyzer"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/license"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/source"
	"strata/internal/store"
)

//go:embed demo/*.txtar
var demoPictures embed.FS

// demoFleet are the images of the demo, each a base and what stands on it.
var demoFleet = []struct{ base, app string }{
	{"debian", "web"}, {"debian", "admin"}, {"debian", "api"}, {"debian", "billing"}, {"alpine", "proxy"},
}

// The demo looks at one image, and asks where else one of its vulnerabilities is.
const (
	demoImage         = "shop/web:2.1"
	demoVulnerability = "CVE-2019-10744"
)

func newDemoCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Make a small fleet of images, scan it, and show what it holds",
		Long: `Build a small fleet of images in a registry within this process, scan it with the
starter set of advisories, and show the layers and findings of one image and
where else one of its vulnerabilities is. It uses no network and leaves nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

func (a *app) demo(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "strata-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	registry, host, err := serveDemo()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()

	reports, err := a.scanDemo(ctx, host, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "A fleet of %d images in a registry at %s, scanned layer by layer:\n\n", len(reports), host)
	if err := a.demoList(reports, host); err != nil {
		return err
	}
	if err := a.demoReport(reports); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\nWhere else is %s?\n\n", demoVulnerability)
	return a.demoImpact(reports, host)
}

// demoReport shows the image that the demo looks at.
func (a *app) demoReport(reports []*report.Report) error {
	asked := scanOptions{policyOptions: policyOptions{failOn: "high"}, showRemoved: true}
	fmt.Fprintf(a.stdout, "\n$ strata scan --fail-on %s --show-removed %s\n\n", asked.failOn, demoImage)
	decider, err := a.decider(&asked.policyOptions)
	if err != nil {
		return err
	}
	table := report.TableOptions{Width: terminalWidth(a.stdout), Color: useColor(a.stdout, "auto", a.env), ShowRemoved: asked.showRemoved}
	for _, r := range reports {
		if !strings.HasSuffix(r.Image.Reference, demoImage) {
			continue
		}
		if err := a.decide(decider, r); err != nil {
			return err
		}
		if err := report.Write(a.stdout, "table", r, report.Options{Table: table}); err != nil {
			return err
		}
	}
	return nil
}

// serveDemo builds the fleet and serves it on the loopback.
func serveDemo() (*http.Server, string, error) {
	registry := &imagetest.Registry{}
	for _, f := range demoFleet {
		img, err := demoBuild(f.base, f.app)
		if err != nil {
			return nil, "", err
		}
		registry.Add(img)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	server := &http.Server{Handler: registry}
	go func() { _ = server.Serve(listener) }() // it ends by Close
	return server, listener.Addr().String(), nil
}

func demoBuild(base, app string) (*imagetest.Image, error) {
	below, err := demoPicture(base)
	if err != nil {
		return nil, err
	}
	spec, err := demoPicture(app)
	if err != nil {
		return nil, err
	}
	spec.Layers = append(below.Layers, spec.Layers...)
	return spec.Build()
}

func demoPicture(name string) (*imagetest.Spec, error) {
	b, err := demoPictures.ReadFile("demo/" + name + ".txtar")
	if err != nil {
		return nil, err
	}
	return imagetest.Parse(b)
}

// scanDemo scans the fleet as `strata scan` does, with a cache of its own.
func (a *app) scanDemo(ctx context.Context, host, dir string) (reports []*report.Report, err error) {
	path := dir + "/" + advisoriesFile
	if _, err := store.UpdateAdvisories(ctx, path, advisory.StarterMirror(), store.UpdateOptions{Now: a.now, Log: a.log}); err != nil {
		return nil, err
	}
	db, err := store.OpenAdvisories(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cache, err := store.OpenCache(ctx, dir+"/layers.db")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	scanner := &scan.Scanner{Runner: &analyzer.Runner{Analyzers: analyzer.Default(), Memory: &analyzer.Memory{TempDir: dir}}, Cache: cache}
	for _, f := range demoFleet {
		spec, err := demoPicture(f.app)
		if err != nil {
			return nil, err
		}
		r, err := a.scanDemoImage(ctx, scanner, db, host+"/"+spec.Name)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (a *app) scanDemoImage(ctx context.Context, scanner *scan.Scanner, db *store.Advisories, ref string) (r *report.Report, err error) {
	images, closer, err := source.Open(ctx, "registry:"+ref, source.Options{Log: a.log})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	res, err := scanner.Image(ctx, images[0])
	if err != nil {
		return nil, err
	}
	return a.matched(ctx, res, db, origin{advisories: report.Advisories{Source: "starter set", Starter: true}}, license.Classes{})
}

func (a *app) demoList(reports []*report.Report, host string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  IMAGE\tLAYERS\tPACKAGES\tCRITICAL\tHIGH\tMEDIUM\tLOW\tIN LOWER")
	for _, r := range reports {
		var count report.Counts
		lower := 0
		for i := range r.Findings {
			switch f := &r.Findings[i]; {
			case f.Active():
				count.Add(f.Severity, 1)
			case f.Suppressed == nil:
				lower++
			}
		}
		fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", demoName(r, host), len(r.Layers), len(r.Packages),
			count.Of(advisory.Critical), count.Of(advisory.High), count.Of(advisory.Medium), count.Of(advisory.Low), lower)
	}
	return w.Flush()
}

func demoName(r *report.Report, host string) string {
	return strings.TrimPrefix(strings.TrimPrefix(r.Image.Reference, "registry:"), host+"/")
}

// demoImpact lists every image that holds the vulnerability, in whatever layer.
func (a *app) demoImpact(reports []*report.Report, host string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  IMAGE\tPACKAGE\tSTATE\tFIX\tLAYER")
	for _, r := range reports {
		for i := range r.Findings {
			f := &r.Findings[i]
			if f.ID != demoVulnerability {
				continue
			}
			state := string(f.State)
			if f.Suppressed != nil {
				state += ", the distribution's"
			}
			fmt.Fprintf(w, "  %s\t%s %s\t%s\t%s\t%d  %s\n", demoName(r, host), f.PackageName, f.PackageVersion, state, f.FixedVersion,
				f.Layer, instruction(image.Layer{CreatedBy: r.Layers[f.Layer].CreatedBy}, 24))
		}
	}
	return w.Flush()
}
