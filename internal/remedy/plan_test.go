package remedy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"strata/internal/advisory"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/match"
)

// flaws is a database of advisories, a line each: id, severity, ecosystem and
// name, introduced and fixed versions in turn.
type flaws []advisory.Record

func flawsOf(lines ...string) flaws {
	var out flaws
	for _, l := range lines {
		f := strings.Fields(l)
		name := f[2][strings.LastIndexByte(f[2], '/')+1:]
		var r advisory.Range
		for i, v := range f[3:] {
			r.Events = append(r.Events, advisory.Event{Kind: []advisory.EventKind{advisory.Introduced, advisory.Fixed}[i%2], Version: v})
		}
		out = append(out, advisory.Record{
			ID: f[0], Rating: advisory.Rating{Severity: advisory.SeverityOf(f[1])},
			Affected: []advisory.Affected{{Ecosystem: strings.TrimSuffix(f[2], "/"+name), Name: name, Ranges: []advisory.Range{r}}},
		})
	}
	return out
}

func (d flaws) Affecting(_ context.Context, keys []advisory.Key) (out []advisory.Entry, _ error) {
	for i := range d {
		for _, e := range d[i].Entries() {
			if slices.Contains(keys, e.Key) {
				out = append(out, e)
			}
		}
	}
	return out, nil
}

func (d flaws) Facts(_ context.Context, ids []string) (out []advisory.Facts, _ error) {
	for _, r := range d {
		if slices.Contains(ids, r.ID) {
			out = append(out, advisory.Facts{ID: r.ID, Rating: r.Rating, Vulnerabilities: []advisory.Vulnerability{{ID: r.ID, Rating: r.Rating, KEV: strings.HasPrefix(r.ID, "KEV")}}})
		}
	}
	return out, nil
}

func (flaws) Coverage(context.Context) ([]advisory.Coverage, error) { return nil, nil }

// packages reads "layer type name version", with /gone after the layer for one
// that layer 9 removed.
func packages(lines ...string) *inventory.Image {
	img := &inventory.Image{Distro: inventory.Distro{ID: "debian", VersionID: "12"}}
	for i, l := range lines {
		f := strings.Fields(l)
		p := inventory.ImagePackage{ID: fmt.Sprintf("p%d", i), State: inventory.Present, StateLayer: -1}
		p.Type, p.Name, p.Version = f[1], f[2], f[3]
		p.Ecosystem = map[string]string{"deb": "Debian:12", "npm": "npm", "pypi": "PyPI", "golang": "Go"}[p.Type]
		layer, gone := strings.CutSuffix(f[0], "/gone")
		p.Layer = int(layer[0] - '0')
		if gone {
			p.State, p.StateLayer = inventory.Removed, 9
		}
		p.Locations = []inventory.Location{{Path: p.Name, Layer: p.Layer}}
		img.Packages = append(img.Packages, p)
	}
	return img
}

func find(t *testing.T, inv *inventory.Image, db flaws) *match.Result {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	r, err := match.Find(t.Context(), inv, db, match.Options{Now: now, Upgrades: true})
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// layered is an image whose layers the instructions made; the first base of them
// are of debian:12.1.
func layered(base int, by ...string) *image.Image {
	m := &image.Image{Reference: "app:1"}
	for i, b := range by {
		m.Layers = append(m.Layers, image.Layer{Index: i, CreatedBy: b})
	}
	if base > 0 {
		m.Base = &image.Base{Reference: "debian:12.1", Repository: "debian", Tag: "12.1", Layers: base, By: image.BaseByLayers}
	}
	return m
}

func candidate(t *testing.T, tag, release string, db flaws, lines ...string) Candidate {
	inv := packages(lines...)
	inv.Distro.VersionID = release
	return Candidate{Image: &image.Image{Repository: "debian", Tag: tag, Reference: "registry:debian:" + tag}, Inventory: inv, Match: find(t, inv, db)}
}

func mustPlan(t *testing.T, in Input) *Plan {
	t.Helper()
	p, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// brief are the steps in short.
func brief(p *Plan) []string {
	var out []string
	for _, s := range p.Steps {
		line := fmt.Sprintf("%s: %s", s.Kind, s.Title)
		if s.Proposed != "" {
			line += " | " + s.Proposed
		}
		line += fmt.Sprintf(" | fixes %d, brings %d, %d left", len(s.Fixes), len(s.Brings), s.After.Total())
		out = append(out, line)
	}
	for _, s := range p.Stays {
		out = append(out, fmt.Sprintf("stays: %s %s, %d", s.Name, s.Reason, len(s.Findings)))
	}
	for _, r := range p.Rebuilds {
		out = append(out, fmt.Sprintf("rebuild: %s, %d", r.Name, len(r.Findings)))
	}
	return out
}

func TestPlan(t *testing.T) {
	db := flawsOf(
		"CVE-1 critical Debian:12/openssl 0 3.0.11-1", "CVE-2 high Debian:12/openssl 0 3.0.13-1", "CVE-3 low Debian:12/openssl 0",
		"CVE-4 medium Debian:12/nginx 0 1.22.1-9+deb12u1", "CVE-5 high npm/lodash 0 4.17.21", "CVE-6 high npm/lodash 0 4.17.12", "CVE-7 critical npm/ejs 0 3.1.7",
		"KEV-8 low Debian:12/bash 0 5.2-2", "CVE-9 high Debian:12/newer 0", "CVE-10 high npm/npm 0 9.0.0",
	)
	base := []string{"0 deb openssl 3.0.9-1", "0 deb apt 2.6"}
	for name, tt := range map[string]struct {
		image      *image.Image
		packages   []string
		candidates func(t *testing.T) []Candidate
		want       []string
	}{
		"by what removes most": {
			layered(1, "ADD rootfs", "RUN /bin/sh -c apt-get update && apt-get install -y nginx # buildkit", "COPY package-lock.json . # buildkit", "RUN /bin/sh -c npm ci # buildkit"),
			append(base, "1 deb nginx 1.22.1-9", "3 npm lodash 4.17.4", "3 npm ejs 2.7.4", "3/gone npm ejs 3.0.0"), nil,
			[]string{
				"upgrade: Upgrade openssl 3.0.13-1 of the layers below | RUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/* | fixes 2, brings 0, 5 left",
				"project: In package-lock.json, take ejs 3.1.7 | fixes 1, brings 0, 4 left",
				"project: In package-lock.json, take lodash 4.17.21 | fixes 2, brings 0, 2 left",
				"instruction: Install nginx 1.22.1-9+deb12u1 | RUN apt-get update && apt-get install -y nginx=1.22.1-9+deb12u* | fixes 1, brings 0, 1 left",
				"stays: openssl no_fix, 1",
				"rebuild: ejs, 1",
			}},
		"a newer base of the same line": {
			layered(1, "ADD rootfs", "RUN apt-get install -y nginx"), append(base, "0 deb bash 5.2-1", "1 deb nginx 1.22.1-9"),
			func(t *testing.T) []Candidate {
				return []Candidate{
					candidate(t, "13", "13", db), candidate(t, "12.4", "12", db, "0 deb openssl 3.0.11-1", "0 deb bash 5.2-1"),
					candidate(t, "12.5", "12", db, "0 deb openssl 3.0.13-1", "0 deb bash 5.2-2"), candidate(t, "12.0", "12", db, "0 deb openssl 3.0.9-1"),
				}
			},
			[]string{
				"base: Build on debian:12.5 instead of debian:12.1 | debian:12.5 | fixes 3, brings 0, 2 left",
				"instruction: Install nginx 1.22.1-9+deb12u1 | RUN apt-get install -y nginx=1.22.1-9+deb12u* | fixes 1, brings 0, 1 left",
				"stays: openssl no_fix, 1",
			}},
		"a base that is worse is no remedy": {
			layered(1, "ADD rootfs", "RUN x"), []string{"0 deb openssl 3.0.13-1"},
			func(t *testing.T) []Candidate {
				return []Candidate{candidate(t, "12.5", "12", db, "0 deb newer 1")}
			},
			[]string{"stays: openssl no_fix, 1"}},
		"another version of the image itself is no base": {
			func() *image.Image {
				m := layered(1, "ADD rootfs", "RUN x")
				m.Repository = "debian"
				return m
			}(), []string{"0 deb openssl 3.0.9-1"},
			func(t *testing.T) []Candidate {
				return []Candidate{candidate(t, "12.5", "12", db, "0 deb openssl 3.0.13-1")}
			},
			[]string{"stays: openssl no_package_manager, 2", "stays: openssl no_fix, 1"}},
		"what it brings is told": {
			layered(1, "ADD rootfs", "RUN x"), base,
			func(t *testing.T) []Candidate {
				return []Candidate{candidate(t, "12.5", "12", db, "0 deb openssl 3.0.13-1", "0 deb newer 1")}
			},
			[]string{"base: Build on debian:12.5 instead of debian:12.1 | debian:12.5 | fixes 2, brings 1, 2 left", "stays: openssl no_fix, 1"}},
		"the base's own language packages": {
			layered(1, "ADD rootfs", "RUN x"), []string{"0 npm npm 8.0.0"}, nil, []string{"stays: npm base, 1"}},
		"no package manager": {
			layered(1, "ADD rootfs", "RUN x"), []string{"0 deb openssl 3.0.9-1"}, nil, []string{"stays: openssl no_package_manager, 2", "stays: openssl no_fix, 1"}},
		"an unknown base": {
			layered(0, "ADD rootfs.tar /", "RUN apt-get install -y nginx"), append(base, "1 deb nginx 1.22.1-9"), nil,
			[]string{
				"upgrade: Upgrade openssl 3.0.13-1 of the layers below | RUN apt-get update && apt-get install -y --only-upgrade openssl && rm -rf /var/lib/apt/lists/* | fixes 2, brings 0, 2 left",
				"instruction: Install nginx 1.22.1-9+deb12u1 | RUN apt-get install -y nginx=1.22.1-9+deb12u* | fixes 1, brings 0, 1 left",
				"stays: openssl no_fix, 1",
			}},
		"nothing is wrong": {layered(1, "ADD rootfs"), []string{"0 deb zlib 1"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inv := packages(tt.packages...)
			in := Input{Image: tt.image, Inventory: inv, Match: find(t, inv, db)}
			if tt.candidates != nil {
				in.Candidates = tt.candidates(t)
			}
			p := mustPlan(t, in)
			if diff := cmp.Diff(tt.want, brief(p)); diff != "" {
				t.Error(diff)
			}
			holds(t, in, p, db)
		})
	}
}

// holds does what the plan says and matches again: what is found then must be just
// what the plan says stays and comes.
func holds(t *testing.T, in Input, p *Plan, db flaws) {
	t.Helper()
	after := &inventory.Image{Distro: in.Inventory.Distro}
	var replaced *Candidate
	want := map[string]int{}
	for _, s := range p.Steps {
		for i := range in.Candidates {
			if s.Kind == StepBase && nameOf(&in.Candidates[i]) == s.Proposed {
				replaced = &in.Candidates[i]
			}
		}
		for _, r := range s.Brings {
			want[r.ID+" "+r.Package]++
		}
	}
	for _, s := range p.Stays {
		for _, r := range s.Findings {
			want[r.ID+" "+r.Package]++
		}
	}
	own := map[string]bool{}
	for _, ip := range in.Inventory.Packages {
		if ip.State != inventory.Present || replaced != nil && ip.Layer < in.Image.Base.Layers {
			continue
		}
		own[ip.Type+ip.Name] = true
		for _, s := range p.Steps {
			for _, c := range s.Changes {
				if c.PackageID == ip.ID {
					ip.Version, ip.SourceVersion = c.To, ""
				}
			}
		}
		after.Packages = append(after.Packages, ip)
	}
	if replaced != nil {
		for _, ip := range replaced.Inventory.Packages {
			if !own[ip.Type+ip.Name] {
				after.Packages = append(after.Packages, ip)
			}
		}
	}
	got := map[string]int{}
	m := find(t, after, db)
	for _, f := range m.Findings {
		got[f.ID+" "+after.Packages[f.Package].Name]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the plan leaves (-said +so):\n%s\n%s", diff, strings.Join(brief(p), "\n"))
	}
	if len(m.Findings) != p.After.Total() {
		t.Errorf("%d findings are left, the plan says %d", len(m.Findings), p.After.Total())
	}
}

// TestPlansHoldWhatTheySay, over random images, advisories and bases.
func TestPlansHoldWhatTheySay(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	version := func() string { return fmt.Sprintf("%d.%d.%d", random.IntN(3), random.IntN(3), random.IntN(3)) }
	debVersion := func() string { return fmt.Sprintf("%d.%d-1", random.IntN(3), random.IntN(4)) }
	severities := []string{"critical", "high", "medium", "low", "unknown"}
	steps := map[StepKind]int{}
	for range 300 {
		var lines []string
		for i := range random.IntN(25) {
			eco, v := "npm", version
			if random.IntN(2) == 0 {
				eco, v = "Debian:12", debVersion
			}
			line := fmt.Sprintf("CVE-%d %s %s/p%d 0", i, severities[random.IntN(5)], eco, random.IntN(5))
			if random.IntN(4) > 0 {
				line += " " + v()
			}
			if random.IntN(5) == 0 {
				line += " " + v() + " " + v()
			}
			lines = append(lines, line)
		}
		db := flawsOf(lines...)
		picture := []string{"0 deb apt 1"}
		for i := range random.IntN(8) {
			if random.IntN(2) == 0 {
				picture = append(picture, fmt.Sprintf("%d deb p%d %s", random.IntN(2), i, debVersion()))
			} else {
				picture = append(picture, fmt.Sprintf("%d npm p%d %s", random.IntN(3), i, version()))
			}
		}
		inv := packages(picture...)
		in := Input{Image: layered(random.IntN(2), "ADD rootfs", "RUN apt-get install -y p1", "RUN npm ci"), Inventory: inv, Match: find(t, inv, db)}
		for i := range random.IntN(3) {
			var lines []string
			for k := range random.IntN(5) {
				lines = append(lines, fmt.Sprintf("0 deb p%d %s", k, debVersion()))
			}
			in.Candidates = append(in.Candidates, candidate(t, fmt.Sprintf("12.%d", i+2), "12", db, lines...))
		}
		p := mustPlan(t, in)
		for _, s := range p.Steps {
			steps[s.Kind]++
		}
		if risks(allRefs(p)) < 0 {
			t.Errorf("negative risk")
		}
		holds(t, in, p, db)
	}
	for _, kind := range []StepKind{StepBase, StepInstruction, StepProject, StepUpgrade} {
		if steps[kind] < 20 {
			t.Errorf("only %d steps of kind %s were tried", steps[kind], kind)
		}
	}
}

func allRefs(p *Plan) (refs []Ref) {
	for _, s := range p.Steps {
		refs = append(refs, s.Fixes...)
	}
	return refs
}
