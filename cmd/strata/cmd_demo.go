package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/report"
)

//go:embed demo
var demoFiles embed.FS

// demoBases are the base images of the demo, with a later build of one of them.
var demoBases = []string{"debian", "debian-next", "alpine"}

// demoFleet are the images of the demo, each a base and what stands on it.
var demoFleet = []struct{ base, app string }{
	{"debian", "web"}, {"debian", "admin"}, {"debian", "api"}, {"debian", "billing"}, {"alpine", "proxy"},
}

// The demo looks at one image, built by a Dockerfile that is there too, and asks
// where else one of its vulnerabilities is.
const (
	demoImage         = "shop/web:2.1"
	demoDockerfile    = "web.Dockerfile"
	demoVulnerability = "CVE-2019-10744"
)

func newDemoCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Make a small fleet of images, scan it, and show what it holds",
		Long: `Build a small fleet of images in a registry within this process, scan it with the
starter set of advisories, and show the layers and findings of one image, what to
change in its Dockerfile, and where else one of its vulnerabilities is. It uses no
network and leaves nothing.`,
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

	demo := a.inFolder(dir)
	reports, err := demo.scanDemo(ctx, host)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "A fleet of %d images in a registry at %s, scanned layer by layer:\n\n", len(reports), host)
	if err := a.demoList(reports, host); err != nil {
		return err
	}
	if err := demo.demoReport(reports); err != nil {
		return err
	}
	if err := demo.demoFix(ctx, host, dir); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\nWhere else is %s?\n\n", demoVulnerability)
	return a.demoImpact(reports, host)
}

// inFolder is the program with a cache, advisories and settings of its own, which
// tells nothing of its work.
func (a *app) inFolder(dir string) *app {
	own := *a
	own.quiet = true
	own.env = func(name string) string {
		switch name {
		case "STRATA_CACHE_DIR", "DOCKER_CONFIG":
			return dir
		}
		return a.env(name)
	}
	return &own
}

// demoReport shows the image that the demo looks at.
func (a *app) demoReport(reports []*report.Report) error {
	asked := scanOptions{policyOptions: policyOptions{failOn: "high", noIgnores: true}, showRemoved: true}
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
	for _, name := range demoBases {
		spec, err := demoPicture(name)
		if err != nil {
			return nil, "", err
		}
		img, err := spec.Build()
		if err != nil {
			return nil, "", err
		}
		registry.Add(img)
	}
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
	b, err := demoFiles.ReadFile("demo/" + name + ".txtar")
	if err != nil {
		return nil, err
	}
	return imagetest.Parse(b)
}

// scanDemo scans the bases and then the fleet, as `strata scan` does: the reports
// are those of the fleet.
func (a *app) scanDemo(ctx context.Context, host string) (reports []*report.Report, err error) {
	for _, name := range demoBases {
		if _, err := a.scanDemoImage(ctx, host, name); err != nil {
			return nil, err
		}
	}
	for _, f := range demoFleet {
		r, err := a.scanDemoImage(ctx, host, f.app)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (a *app) scanDemoImage(ctx context.Context, host, picture string) (*report.Report, error) {
	spec, err := demoPicture(picture)
	if err != nil {
		return nil, err
	}
	reports, err := a.reports(ctx, "registry:"+host+"/"+spec.Name, &imageOptions{memory: defaultMemory}, &advisoryOptions{offline: true})
	if err != nil {
		return nil, err
	}
	return reports[0], nil
}

// demoFix shows what to change in the Dockerfile of the image.
func (a *app) demoFix(ctx context.Context, host, dir string) error {
	dockerfile, err := demoFiles.ReadFile("demo/" + demoDockerfile)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, demoDockerfile)
	// The bases of the demo are in its own registry.
	dockerfile = bytes.Replace(dockerfile, []byte("FROM "), []byte("FROM "+host+"/"), 1)
	if err := os.WriteFile(path, dockerfile, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\n$ strata fix --dockerfile %s %s\n\n", demoDockerfile, demoImage)
	return a.fix(ctx, "registry:"+host+"/"+demoImage, &fixOptions{
		imageOptions: imageOptions{memory: defaultMemory}, advisoryOptions: advisoryOptions{offline: true},
		dockerfile: path, color: "auto", incomplete: true, setAside: policyOptions{noIgnores: true},
	})
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
