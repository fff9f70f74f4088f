package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/report"
	"strata/internal/server"
	"strata/internal/store"
)

const impactExamples = `  strata impact CVE-2021-44228                    in the images scanned on this machine
  strata impact --server https://strata.example CVE-2021-44228
  strata impact pkg:npm/lodash --range '<4.17.21'
  strata impact --license AGPL-3.0-only
  strata impact --file ./liblzma.so.5             what has this file
  strata impact --base debian:12                  what is built upon an image
  strata impact --fix-first                       where to begin`

// impactOptions are the flags of impact.
type impactOptions struct {
	question store.ImpactQuery
	file     string
	fixFirst bool
	bases    bool
	limit    int
	format   string
	to       scanOptions
}

func newImpactCommand(a *app) *cobra.Command {
	o := &impactOptions{}
	cmd := &cobra.Command{
		Use:     "impact [flags] [VULNERABILITY | PURL]",
		Short:   "Tell which images have a vulnerability, package, licence or file",
		Example: impactExamples,
		Long: `Tell which images have a vulnerability, a package, a licence or a file: in which
layer, by which instruction, whether it is still present or was shadowed or
removed by a later layer, and which version fixes it. Or which images are built
upon a base or have a layer. Or, by --fix-first, of which layers one rebuild
heals most.

Files are known by the SHA-256 of their content, but not all: programs and
shared libraries, Java archives, and files that tell of packages (manifests,
lock files, package databases). Scripts, other files and what is in archives
are not found by --file.

With --server it is asked of ` + "`strata serve`" + `, over all images in all
registries. Without, of the images that were scanned on this machine with the
cache: what is in their layers is known, and no image is read again.

Exit codes:
  0  answered
  1  error; also when nothing that is known has it`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.impact(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	flagGroup(f, "Question", o.questionFlags)
	flagGroup(f, "Server", func(f *pflag.FlagSet) {
		f.StringVar(&o.to.server, "server", "", "ask the server at this `URL`")
		f.StringVar(&o.to.serverToken, "server-token", "", "API `TOKEN` for the server; better given as STRATA_SERVER_TOKEN")
		f.StringVar(&o.to.caFile, "ca-file", "", "PEM `FILE` of certificates to trust as well")
		f.BoolVar(&o.to.insecure, "insecure", false, "allow plain http, and certificates that can't be checked")
	})
	return cmd
}

func (o *impactOptions) questionFlags(f *pflag.FlagSet) {
	f.StringVar(&o.question.Name, "package", "", "`NAME` of a package")
	f.StringVar(&o.question.Type, "type", "", "`TYPE` of the package, as purls have it, such as npm")
	f.StringVar(&o.question.Range, "range", "", "`VERSIONS` of the package, such as '>=1.2,<1.4.2', in the order of its ecosystem")
	f.StringVar(&o.question.License, "license", "", "SPDX `EXPRESSION` or id, or a class such as strong-copyleft")
	f.StringVar(&o.file, "file", "", "`DIGEST` of a file's content, sha256:…, or the path of such a file on this machine")
	f.StringVar(&o.question.Base, "base", "", "images built upon this one: `IMAGE` by name, digest or id")
	f.StringVar(&o.question.Layer, "layer", "", "images with this layer: `DIFFID`, or chain: and a chain id")
	f.BoolVar(&o.fixFirst, "fix-first", false, "layers by how many findings one rebuild heals")
	f.BoolVar(&o.bases, "bases", false, "with --fix-first: base images instead of layers")
	f.IntVar(&o.limit, "limit", 50, "list at most `N` images or layers")
	f.StringVarP(&o.format, "format", "f", "table", "`FORMAT`: table or json")
}

func (o *impactOptions) check(args []string) error {
	if len(args) == 1 && strings.HasPrefix(args[0], "pkg:") {
		o.question.PURL = args[0]
	} else if len(args) == 1 {
		o.question.Vulnerability = args[0]
	}
	if o.file != "" {
		var err error
		if o.question.File, err = fileDigest(o.file); err != nil {
			return err
		}
	}
	switch {
	case o.format != "table" && o.format != "json":
		return fmt.Errorf("--format %s: want table or json", report.Safe(o.format))
	case o.limit < 1 || o.limit > 500:
		return fmt.Errorf("--limit %d: want a number from 1 to 500", o.limit)
	case o.bases && !o.fixFirst:
		return errors.New("--bases: goes with --fix-first")
	case o.fixFirst && o.limit > 100:
		return errors.New("--limit: at most 100 with --fix-first")
	}
	return nil
}

// fileDigest is the digest that --file gives, or that of the file that it names.
func fileDigest(value string) (string, error) {
	if strings.HasPrefix(strings.ToLower(value), "sha256:") {
		return value, nil
	}
	f, err := os.Open(value)
	if err != nil {
		return "", fmt.Errorf("--file: want sha256: and 64 hexadecimal digits, or a file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("--file: %w", err)
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

// An asker answers questions about impact: a server, or the cache.
type asker struct {
	impact   func(context.Context) (*server.ImpactAnswer, error)
	fixFirst func(context.Context) (*store.FixFirst, error)
}

// impact runs the command.
func (a *app) impact(ctx context.Context, args []string, o *impactOptions) (err error) {
	if err := o.check(args); err != nil {
		return err
	}
	from, closer, err := a.asker(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer()) }()
	if o.fixFirst {
		first, err := from.fixFirst(ctx)
		if err != nil {
			return err
		}
		return a.writeImpact(o, first, func(w io.Writer) { fixFirstTable(w, first) })
	}
	answer, err := from.impact(ctx)
	if err != nil {
		return err
	}
	return a.writeImpact(o, answer, func(w io.Writer) { impactTable(w, answer) })
}

func (a *app) asker(ctx context.Context, o *impactOptions) (*asker, func() error, error) {
	if o.to.server == "" {
		return a.localAsker(ctx, o)
	}
	to, err := o.to.submitter()
	if err != nil {
		return nil, nil, err
	}
	q := url.Values{"limit": {strconv.Itoa(o.limit)}}
	for name, v := range map[string]string{
		"vulnerability": o.question.Vulnerability, "purl": o.question.PURL, "package": o.question.Name, "type": o.question.Type,
		"range": o.question.Range, "license": o.question.License, "file": o.question.File, "base": o.question.Base, "layer": o.question.Layer,
	} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return &asker{
		impact: func(ctx context.Context) (*server.ImpactAnswer, error) {
			out := &server.ImpactAnswer{}
			return out, to.send(ctx, http.MethodGet, "api/v1/impact?"+q.Encode(), "application/json", nil, out)
		},
		fixFirst: func(ctx context.Context) (*store.FixFirst, error) {
			out := &store.FixFirst{}
			return out, to.send(ctx, http.MethodGet, fmt.Sprintf("api/v1/fix-first?bases=%v&limit=%d", o.bases, o.limit), "application/json", nil, out)
		},
	}, func() error { return nil }, nil
}

func (a *app) writeImpact(o *impactOptions, answer any, table func(io.Writer)) error {
	if o.format == "json" {
		e := json.NewEncoder(a.stdout)
		e.SetIndent("", "  ")
		return e.Encode(answer)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// plural is "1 image", "2 images".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func impactTable(w io.Writer, i *server.ImpactAnswer) {
	if i.Vulnerability != "" {
		fmt.Fprintf(w, "%s\n", report.Safe(strings.TrimSpace(i.Vulnerability+"  "+i.Summary)))
	}
	t := i.Totals
	fmt.Fprintf(w, "%s: %d present, %d shadowed, %d removed; in %s", plural(t.Images, "image"), t.Present, t.Shadowed, t.Removed, plural(t.Layers, "layer"))
	if t.Repositories > 0 {
		fmt.Fprintf(w, ", %d repositories of %d registries", t.Repositories, t.Registries)
	}
	if t.Aside > 0 {
		fmt.Fprintf(w, "; in %d more all of it is set aside", t.Aside)
	}
	fmt.Fprintln(w)
	if i.Note != "" {
		fmt.Fprintf(w, "%s: %s\n", report.Safe(i.File), report.Safe(i.Note))
	}
	for _, v := range i.Uncompared {
		fmt.Fprintf(w, "version %s can't be compared, and is not among them\n", report.Safe(v))
	}
	if len(i.Images.Items) == 0 {
		return
	}
	if i.File != "" {
		fmt.Fprintln(w, "\nIMAGE\tPATH\tSTATE\tLAYER")
	} else {
		fmt.Fprintln(w, "\nIMAGE\tPACKAGE\tSTATE\tFIX\tLAYER")
	}
	for n := range i.Images.Items {
		m := &i.Images.Items[n]
		name := report.Safe(impactName(m))
		for _, f := range m.Files {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d  %s\n", name, report.Safe(f.Path), stateBy(f.State, f.StateLayer), f.Layer, instruction(image.Layer{CreatedBy: f.CreatedBy}, 40))
		}
		if len(m.Held) == 0 && len(m.Files) == 0 {
			fmt.Fprintf(w, "%s\t\t%s\t\t\n", name, m.State)
		}
		for _, h := range m.Held {
			state := stateBy(h.State, h.StateLayer)
			if h.Aside != "" {
				state += ", aside: " + h.Aside
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d  %s\n", name, report.Safe(h.Name+" "+h.Version), report.Safe(state), report.Safe(h.FixedVersion), h.Layer, instruction(image.Layer{CreatedBy: h.CreatedBy}, 40))
		}
	}
	if i.Images.Next != "" {
		fmt.Fprintf(w, "… and more: these are the newest %d\n", len(i.Images.Items))
	}
}

// stateBy is "present" or "removed by layer 3".
func stateBy(state inventory.State, layer int) string {
	if layer < 0 {
		return string(state)
	}
	return fmt.Sprintf("%s by layer %d", state, layer)
}

func impactName(m *store.ImpactImage) string {
	if len(m.Names) == 0 {
		return m.Reference
	}
	if len(m.Names) > 1 {
		return fmt.Sprintf("%s (+%d)", m.Names[0], len(m.Names)-1)
	}
	return m.Names[0]
}

func fixFirstTable(w io.Writer, f *store.FixFirst) {
	if len(f.Items) == 0 {
		fmt.Fprintln(w, "nothing that is known has a fix")
		return
	}
	fmt.Fprintln(w, "HEALS\tCRITICAL\tHIGH\tIMAGES\tLAYER\tEXAMPLE\tINSTRUCTION")
	for _, l := range f.Items {
		diffID := strings.TrimPrefix(l.DiffID, "sha256:")
		fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%s\t%s\t%s\n", l.Healed, l.Critical, l.High, l.Images, report.Safe(diffID[:min(len(diffID), 12)]), report.Safe(l.Example), instruction(image.Layer{CreatedBy: l.CreatedBy}, 40))
	}
}
