package analyzer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"strata/internal/image"
	"strata/internal/imagetest"
	"strata/internal/inventory"
)

// runLayerFile reads a layer's blob on disk.
func runLayerFile(t *testing.T, blob string) *inventory.Layer {
	t.Helper()
	f, err := os.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, _, err := (&Runner{Analyzers: Default()}).Layer(t.Context(), f, image.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A fake is an analyzer of files of one suffix.
type fake struct {
	suffix  string
	analyze func(*File) (Result, error)
}

func (f fake) Name() string            { return "fake" + f.suffix }
func (f fake) Wants(c *Candidate) bool { return strings.HasSuffix(c.Path, f.suffix) }
func (f fake) Analyze(_ context.Context, file *File) (Result, error) {
	return f.analyze(file)
}

// fakes read simple files: x.pkg has npm packages, a "name version" each line,
// x.owns the paths that the package x of Debian owns; the others go wrong.
func fakes() []Analyzer {
	return []Analyzer{
		fake{".pkg", func(f *File) (res Result, err error) {
			for line, err := range lines(f.Reader()) {
				if err != nil {
					return res, err
				}
				name, version, _ := strings.Cut(string(line), " ")
				res.Packages = append(res.Packages, inventory.Package{Type: "npm", Name: name, Version: version, Ecosystem: "npm"})
			}
			return res, nil
		}},
		fake{".owns", func(f *File) (res Result, err error) {
			for line, err := range lines(f.Reader()) {
				if err != nil {
					return res, err
				}
				res.Owned = append(res.Owned, Owned{string(line), "deb:" + strings.TrimSuffix(f.Base(), ".owns")})
			}
			return res, nil
		}},
		fake{"panics.pkg", func(*File) (Result, error) { panic("oh") }},
		fake{"nil.pkg", func(*File) (Result, error) {
			var none *Result
			return *none, nil
		}},
		fake{"fails.pkg", func(*File) (Result, error) {
			return Result{Packages: []inventory.Package{{Type: "pypi", Name: "half", Version: "1"}}}, errors.New("not so")
		}},
		fake{"notes.pkg", func(*File) (Result, error) { return Result{Notes: []string{"first", "second"}}, nil }},
		fake{"odd.pkg", func(*File) (Result, error) {
			return Result{Packages: []inventory.Package{{Type: "npm", Name: "a", Version: strings.Repeat("1", 2*maxName)}, {Type: "npm"}}}, nil
		}},
	}
}

func runner() *Runner { return &Runner{Analyzers: fakes(), Memory: &Memory{}} }

// tarOfPicture is the tar of layer 0 of an image's picture.
func tarOfPicture(t testing.TB, picture string) []byte {
	t.Helper()
	spec, err := imagetest.Parse([]byte(picture))
	if err != nil {
		t.Fatal(err)
	}
	b, err := spec.LayerTar(0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func runLayer(t testing.TB, r *Runner, blob io.Reader) *inventory.Layer {
	t.Helper()
	l, _, err := r.Layer(t.Context(), blob, image.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// describeLayer is a line for each file, link and problem.
func describeLayer(l *inventory.Layer) []string {
	var out []string
	for _, f := range l.Files {
		s := f.Path + ":"
		for _, p := range f.Packages {
			s += " " + p.Name + " " + p.Version
		}
		if f.Owner != "" {
			s += " owner=" + f.Owner
		}
		out = append(out, s)
	}
	for _, k := range l.Links {
		arrow := " => "
		if k.Symbolic {
			arrow = " -> "
		}
		s := k.Path + arrow + k.Target
		if k.Owner != "" {
			s += " owner=" + k.Owner
		}
		out = append(out, s)
	}
	for _, p := range l.Problems {
		out = append(out, fmt.Sprintf("! %s %s: %s", p.Path, p.Analyzer, p.Message))
	}
	return out
}

func TestRunnerLayer(t *testing.T) {
	tests := []struct {
		name, picture string
		want          []string
	}{
		{"an empty layer", "layers: 1", nil},
		{"what goes wrong is a problem, and the rest is found", `
-- layer0/panics.pkg --
a 1
-- layer0/nil.pkg --
b 1
-- layer0/fails.pkg --
c 1
-- layer0/notes.pkg --
d 1
-- layer0/odd.pkg --
e 1
-- layer0/z.pkg --
z 1
`, []string{"fails.pkg: c 1 half 1", "nil.pkg: b 1", "notes.pkg: d 1", "odd.pkg: e 1", "panics.pkg: a 1", "z.pkg: z 1",
			"! panics.pkg fakepanics.pkg: analyzer panicked: oh",
			"! nil.pkg fakenil.pkg: analyzer panicked: runtime error: invalid memory address or nil pointer dereference",
			"! fails.pkg fakefails.pkg: not so",
			"! notes.pkg fakenotes.pkg: first", "! notes.pkg fakenotes.pkg: second",
			"! odd.pkg fakeodd.pkg: 2 packages have impossible names or versions, or none, and are left out"}},
		{"the last of two files counts", "-- layer0/a.pkg --\na 1\n-- layer0/a.pkg --\na 2\n", []string{"a.pkg: a 2"}},
		{"overwritten by something else", "-- layer0/a.pkg --\na 1\n-- layer0/b.pkg --\nb 1\n-- layer0/c/c.pkg --\nc 1\n-- layer0/a.pkg/ --\n-- layer0/b.pkg -> a.pkg --\n-- layer0/c --\n",
			[]string{"b.pkg -> a.pkg"}},
		{"a file lies where the link in its path leads", "-- layer0/lib -> usr/lib --\n-- layer0/lib/x/a.pkg --\na 1\n", []string{"usr/lib/x/a.pkg: a 1"}},
		{"also when it leads to a link", "-- layer0/a -> b --\n-- layer0/b -> c/d --\n-- layer0/a/x.pkg --\nx 1\n-- layer0/b/y.pkg --\ny 1\n", []string{"c/d/x.pkg: x 1", "c/d/y.pkg: y 1"}},
		{"links in a circle lead nowhere", "-- layer0/a -> b --\n-- layer0/b -> a --\n-- layer0/a/x.pkg --\nx 1\n-- layer0/y.pkg --\ny 1\n", []string{"y.pkg: y 1"}},
		{"the owner of a file", "-- layer0/usr/x.owns --\nusr/a.pkg\n-- layer0/usr/a.pkg --\na 1\n-- layer0/usr/b.pkg --\nb 1\n", []string{"usr/a.pkg: a 1 owner=deb:x", "usr/b.pkg: b 1"}},
		{"an owner that comes after the file", "-- layer0/usr/a.pkg --\na 1\n-- layer0/usr/x.owns --\nusr/a.pkg\n", []string{"usr/a.pkg: a 1 owner=deb:x"}},
		{"the merge of / and /usr", "-- layer0/lib -> usr/lib --\n-- layer0/usr/lib/a.pkg --\na 1\n-- layer0/lib/b.pkg --\nb 1\n-- layer0/x.owns --\nlib/a.pkg\nlib/b.pkg\n",
			[]string{"usr/lib/a.pkg: a 1 owner=deb:x", "usr/lib/b.pkg: b 1 owner=deb:x"}},
		{"the merge, listed the other way round", "-- layer0/lib/a.pkg --\na 1\n-- layer0/x.owns --\nusr/lib/a.pkg\n", []string{"lib/a.pkg: a 1 owner=deb:x"}},
		{"hard links", "-- layer0/a.pkg --\na 1\n-- layer0/b.pkg => a.pkg --\n-- layer0/c => a.pkg --\n-- layer0/d => other --\n-- layer0/x.owns --\nc\n",
			[]string{"a.pkg: a 1", "b.pkg => a.pkg", "c => a.pkg owner=deb:x"}},
		{"hard links of another layer's file", "-- layer0/b.pkg => a.pkg --\n", []string{"b.pkg => a.pkg"}},
		{"a hard link that was replaced", "-- layer0/a.pkg --\na 1\n-- layer0/b.pkg => a.pkg --\n-- layer0/b.pkg/ --\n", []string{"a.pkg: a 1"}},
		{"symbolic links", "-- layer0/u/a.pkg --\na 1\n-- layer0/u/b.pkg -> a.pkg --\n-- layer0/u/c.pkg -> /v/../u/a.pkg --\n-- layer0/u/d.pkg -> ../../../u/a.pkg --\n-- layer0/u/e -> a.pkg --\n",
			[]string{"u/a.pkg: a 1", "u/b.pkg -> u/a.pkg", "u/c.pkg -> u/a.pkg", "u/d.pkg -> u/a.pkg"}},
		{"names with .. are read, with a word", "-- layer0/../../up.pkg --\na 1\n-- layer0/ok.pkg --\nb 1\n", []string{"ok.pkg: b 1", "up.pkg: a 1",
			`! up.pkg : the entry's name has ".." in it: it is read, but hides nothing`}},
		{"a name with .. does not take a file's place", "-- layer0/a.pkg --\na 1\n-- layer0/x/../a.pkg --\na 2\n", []string{"a.pkg: a 1 a 2",
			`! a.pkg : the entry's name has ".." in it: it is read, but hides nothing`}},
		{"a name that is no UTF-8", "-- layer0/d\xff/a.pkg --\na 1\n-- layer0/d\xfe/a.pkg --\na 2\n-- layer0/l.pkg -> d\xff/a.pkg --\n",
			[]string{`d\xfe/a.pkg: a 2`, `d\xff/a.pkg: a 1`, `l.pkg -> d\xff/a.pkg`}},
		{"the owner of such a name", "-- layer0/d\xff/a.pkg --\na 1\n-- layer0/x.owns --\nd\xff/a.pkg\n", []string{`d\xff/a.pkg: a 1 owner=deb:x`}},
		{"nothing found in a file is no file", "-- layer0/a.pkg (trim) --\n-- layer0/b.txt --\nb 1\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := runLayer(t, runner(), bytes.NewReader(tarOfPicture(t, tt.picture)))
			if diff := cmp.Diff(tt.want, describeLayer(l)); diff != "" {
				t.Errorf("layer (-want +got):\n%s", diff)
			}
			for _, p := range l.Problems {
				if p.Layer != -1 || p.Incomplete {
					t.Errorf("problem %+v; want one of a layer that is not known yet, and complete", p)
				}
			}
		})
	}
}

// wantsPanics wants files in such a way that it panics.
type wantsPanics struct{ fake }

func (wantsPanics) Wants(c *Candidate) bool { panic("at " + c.Path) }

func TestRunnerPanicWhenAsked(t *testing.T) {
	r := &Runner{Analyzers: append(fakes(), wantsPanics{fake{suffix: "!"}})}
	l := runLayer(t, r, bytes.NewReader(tarOfPicture(t, "-- layer0/a.pkg --\na 1\n-- layer0/b.pkg => a.pkg --\n")))
	want := []string{"a.pkg: a 1", "b.pkg => a.pkg", "! a.pkg fake!: analyzer panicked: at a.pkg", "! b.pkg fake!: analyzer panicked: at b.pkg"}
	if diff := cmp.Diff(want, describeLayer(l)); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
}

// TestRunnerOneFileForTwoAnalyzers: what two analyzers find in a file is there,
// and neither takes the other's away when layers are merged.
func TestRunnerOneFileForTwoAnalyzers(t *testing.T) {
	l := runLayer(t, runner(), bytes.NewReader(tarOfPicture(t, "-- layer0/fails.pkg --\na 1\n")))
	img := inventory.Merge([]*inventory.Layer{l})
	var got []string
	for _, p := range img.Packages {
		got = append(got, fmt.Sprint(p.Type, " ", p.Name, " ", p.State))
	}
	if diff := cmp.Diff([]string{"npm a present", "pypi half present"}, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if l.Files[0].Analyzer != "fake.pkg, fakefails.pkg" {
		t.Errorf("analyzer is %q", l.Files[0].Analyzer)
	}
}

func TestRunnerManyProblems(t *testing.T) {
	var picture strings.Builder
	for i := range 3 * maxProblems {
		fmt.Fprintf(&picture, "-- layer0/d%d/panics.pkg --\na 1\n", i)
	}
	l := runLayer(t, runner(), bytes.NewReader(tarOfPicture(t, picture.String())))
	if n := len(l.Problems); n != maxProblems+1 {
		t.Fatalf("%d problems; want %d and one about the rest", n, maxProblems)
	}
	if last := l.Problems[maxProblems].Message; !strings.Contains(last, "more than 200 problems") {
		t.Errorf("the last problem is %q", last)
	}
	if len(l.Files) != 3*maxProblems {
		t.Errorf("%d files found", len(l.Files))
	}
}

func TestRunnerLongMessage(t *testing.T) {
	long := fake{".x", func(*File) (Result, error) { return Result{}, errors.New(strings.Repeat("\xff\x00", 1<<20)) }}
	l := runLayer(t, &Runner{Analyzers: []Analyzer{long}}, bytes.NewReader(tarOfPicture(t, "-- layer0/a.x --\nx\n")))
	if len(l.Problems) != 1 || len(l.Problems[0].Message) > 4*maxMessage || l.Problems[0].Message != validText(l.Problems[0].Message) {
		t.Errorf("%d problems, the first of %d bytes", len(l.Problems), len(l.Problems[0].Message))
	}
}

// TestRunnerTooMuch: a layer that would fill the memory is incomplete.
func TestRunnerTooMuch(t *testing.T) {
	const each = 100_000
	big := fake{".big", func(*File) (Result, error) {
		res := Result{Packages: make([]inventory.Package, each)}
		for i := range res.Packages {
			res.Packages[i] = inventory.Package{Type: "npm", Name: "a", Version: "1"}
		}
		return res, nil
	}}
	var picture strings.Builder
	for i := range 20 {
		fmt.Fprintf(&picture, "-- layer0/%02d.big --\nx\n", i)
	}
	l := runLayer(t, &Runner{Analyzers: []Analyzer{big}}, bytes.NewReader(tarOfPicture(t, picture.String())))
	if n := len(l.Files) * each * packageCost(&inventory.Package{}); n < maxLayerResult/2 || n > maxLayerResult {
		t.Errorf("%d files are kept", len(l.Files))
	}
	if len(l.Problems) != 1 || !l.Problems[0].Incomplete {
		t.Errorf("problems %+v; want one that says that the layer is incomplete", l.Problems)
	}
}

func TestRunnerDamagedLayer(t *testing.T) {
	blob := tarOfPicture(t, "-- layer0/a.pkg (fill=4000000) --\n")
	r := runner()
	for name, b := range map[string][]byte{"in a file that is read": blob[:1_000_000], "in the first bytes of a file": blob[:600]} {
		l, _, err := r.Layer(t.Context(), io.MultiReader(bytes.NewReader(b)), image.Layer{})
		if !errors.Is(err, image.ErrDamaged) || l != nil {
			t.Errorf("%s: %v, %v; want image.ErrDamaged and no layer", name, l, err)
		}
		if n := r.Memory.used.Load(); n != 0 {
			t.Errorf("%s: %d bytes are still taken", name, n)
		}
	}
}

func TestRunnerCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := &Runner{Analyzers: []Analyzer{fake{".pkg", func(*File) (Result, error) {
		cancel()
		return Result{}, ctx.Err()
	}}}}
	l, _, err := r.Layer(ctx, bytes.NewReader(tarOfPicture(t, "-- layer0/a.pkg --\na 1\n-- layer0/b.pkg --\nb 1\n")), image.Layer{})
	if !errors.Is(err, context.Canceled) || l != nil {
		t.Errorf("%v, %v; want context.Canceled", l, err)
	}
}

// bigLayer has files on both sides of what a layer may hold without asking.
func bigLayer(t testing.TB) []byte {
	t.Helper()
	line := func(s string, n int) string { return strings.Repeat(s+" 1\n", n) }
	spec := imagetest.Spec{Layers: []imagetest.Layer{{Entries: []imagetest.Entry{
		imagetest.File("small.pkg", line("a", 3)), imagetest.File("large.pkg", line("b", 300_000)), imagetest.File("larger.pkg", line("c", 600_000)),
		imagetest.File("small2.pkg", line("d", 3)), imagetest.File("last.pkg", line("e", 270_000)),
	}}}}
	b, err := spec.LayerTar(0)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sums is an analyzer that reads each file twice, in both ways, and tells of it
// only a sum. It looks whether there is a file in the directory meanwhile.
func sums(t testing.TB, dir string) Analyzer {
	return fake{".pkg", func(f *File) (Result, error) {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: the folder of temporary files has %v, error %v", f.Path, entries, err)
		}
		whole, err := f.Bytes(1 << 30)
		if err != nil {
			return Result{}, err
		}
		again, err := io.ReadAll(f.Reader())
		if err != nil {
			return Result{}, err
		}
		middle := make([]byte, 4)
		if _, err := f.ReaderAt().ReadAt(middle, f.Size/2); err != nil {
			return Result{}, err
		}
		if !bytes.Equal(whole, again) || !bytes.Equal(middle, whole[f.Size/2:f.Size/2+4]) || !bytes.HasPrefix(whole, f.Head) {
			t.Errorf("%s reads differently from one time to the next", f.Path)
		}
		return Result{Packages: []inventory.Package{{Type: "npm", Name: imagetest.Digest(whole), Version: fmt.Sprint(f.Size)}}}, nil
	}}
}

// TestMemory: files in memory, in a temporary file and in the layer itself read
// the same, nothing is left of any, and none has a name while it is there.
func TestMemory(t *testing.T) {
	blob := bigLayer(t)
	want := describeLayer(runLayer(t, &Runner{Analyzers: []Analyzer{sums(t, t.TempDir())}}, bytes.NewReader(blob)))
	if len(want) != 5 {
		t.Fatalf("found %q", want)
	}
	for _, limit := range []int64{1, 1_300_000, 10 << 20} {
		for name, reader := range map[string]io.Reader{"stream": io.MultiReader(bytes.NewReader(blob)), "random access": bytes.NewReader(blob)} {
			t.Run(fmt.Sprintf("%s, limit %d", name, limit), func(t *testing.T) {
				dir := t.TempDir()
				r := &Runner{Analyzers: []Analyzer{sums(t, dir)}, Memory: &Memory{Limit: limit, TempDir: dir}}
				if diff := cmp.Diff(want, describeLayer(runLayer(t, r, reader))); diff != "" {
					t.Errorf("layer (-want +got):\n%s", diff)
				}
				if n := r.Memory.used.Load(); n != 0 {
					t.Errorf("%d bytes are still taken", n)
				}
				if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
					t.Errorf("left behind: %v, error %v", entries, err)
				}
			})
		}
	}
}

// TestMemoryShared: layers that are read at the same time share one Memory.
func TestMemoryShared(t *testing.T) {
	blob := bigLayer(t)
	dir := t.TempDir()
	// The names of temporary files are seen for a moment by the other layers.
	r := &Runner{Analyzers: []Analyzer{sums(t, t.TempDir())}, Memory: &Memory{Limit: 3 << 20, TempDir: dir}}
	want := describeLayer(runLayer(t, r, bytes.NewReader(blob)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, _, err := r.Layer(t.Context(), io.MultiReader(bytes.NewReader(blob)), image.Layer{})
			if err != nil {
				t.Error(err)
				return
			}
			if diff := cmp.Diff(want, describeLayer(l)); diff != "" {
				t.Errorf("layer (-want +got):\n%s", diff)
			}
			if n := r.Memory.used.Load(); n < 0 || n > 3<<20 {
				t.Errorf("%d bytes are taken of %d", n, 3<<20)
			}
		})
	}
	wg.Wait()
	if n := r.Memory.used.Load(); n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, error %v", entries, err)
	}
}

// TestMemoryGivesBack: a layer with one large file does not keep its memory from
// the others until its end.
func TestMemoryGivesBack(t *testing.T) {
	m := &Memory{Limit: 4 << 20}
	b := buffer{memory: m}
	f := File{Candidate: Candidate{Size: 3 << 20}}
	if err := b.fill(&f, bytes.NewReader(make([]byte, f.Size))); err != nil || f.memory == nil {
		t.Fatal(err)
	}
	if !m.take(1 << 20) {
		t.Error("not all of the memory is to be had")
	}
	b.release()
	if !m.take(3 << 20) {
		t.Error("the memory is not given back")
	}
}

func TestMemoryWithoutDisk(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	r := &Runner{Analyzers: fakes(), Memory: &Memory{Limit: 1, TempDir: missing}}
	_, _, err := r.Layer(t.Context(), io.MultiReader(bytes.NewReader(bigLayer(t))), image.Layer{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "large.pkg") || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v; want one that names the file and the folder", err)
	}
}

func TestFile(t *testing.T) {
	f := NewFile("a/b.txt", []byte("content"))
	if _, err := f.Bytes(6); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v; want ErrTooLarge", err)
	}
	if b, err := f.Bytes(7); string(b) != "content" || err != nil {
		t.Errorf("read %q, error %v", b, err)
	}
	for path, base := range map[string]string{"a/b": "b", "b": "b", "a/": "", "": ""} {
		if got := (&Candidate{Path: path}).Base(); got != base {
			t.Errorf("the base of %q is %q; want %q", path, got, base)
		}
	}
}

// TestRunnerRoot: a directory gives what a layer of the same files gives, but for
// the digests, for which files would have to be read whole.
func TestRunnerRoot(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/lib/a.pkg", "a 1\n")
	write("x.owns", "lib/a.pkg\n")
	write("panics.pkg", "p 1\n")
	if err := errors.Join(os.Symlink("usr/lib", filepath.Join(dir, "lib")), os.Symlink("lib/a.pkg", filepath.Join(dir, "b.pkg"))); err != nil {
		t.Fatal(err)
	}
	got, err := runner().Root(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := runLayer(t, runner(), bytes.NewReader(tarOfPicture(t, `
-- layer0/b.pkg -> lib/a.pkg --
-- layer0/lib -> usr/lib --
-- layer0/panics.pkg --
p 1
-- layer0/usr/ --
-- layer0/usr/lib/ --
-- layer0/usr/lib/a.pkg --
a 1
-- layer0/x.owns --
lib/a.pkg
`)))
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(inventory.Layer{}, "DiffID", "Size", "Digests")); diff != "" {
		t.Errorf("layer (-tar +directory):\n%s", diff)
	}
	if got.Digests != nil {
		t.Error("files of a directory are read whole")
	}
	if got.Size != 4+10+4 || got.Entries != 7 {
		t.Errorf("size %d, entries %d", got.Size, got.Entries)
	}
}

// TestRealPlainAndCompressed: a layer on disk that is read in place gives what
// its compressed form gives.
func TestRealPlainAndCompressed(t *testing.T) {
	images := sharedImages(t)
	for _, blob := range layersOf(t, filepath.Join(images, "oci"), "debian12-slim") {
		want := runLayerFile(t, blob)
		plain := filepath.Join(t.TempDir(), "layer.tar")
		gunzip(t, blob, plain)
		got := runLayerFile(t, plain)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("layer (-compressed +plain):\n%s", diff)
		}
		if len(got.Files) == 0 {
			t.Error("nothing found")
		}
	}
}

func gunzip(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, z)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRealHostileDatabases reads the hostile images that are about package
// databases and names, of which the first layer has a package to be found.
func TestRealHostileDatabases(t *testing.T) {
	images := sharedImages(t)
	for name, want := range map[string][]string{
		"dpkg-long-line": {"var/lib/dpkg/status: before 1.0-1 long 2.0-1 after 3.0-1"},
		"rpmdb-corrupt": {"lib/apk/db/installed:", "usr/lib/sysimage/rpm/Packages.db:", "var/lib/rpm/Packages:", "var/lib/rpm/rpmdb.sqlite:",
			"! lib/apk/db/installed", "! usr/lib/sysimage/rpm/Packages.db", "! var/lib/rpm/Packages", "! var/lib/rpm/rpmdb.sqlite"},
		"symlink-maze": nil,
		"traversal":    {"app/node_modules/host/package.json -> etc/hostname", "! tmp/pwned-abs", "! tmp/pwned-by-image", "! tmp/pwned-mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			layout := t.TempDir()
			unpackTar(t, filepath.Join(images, "hostile", name+".oci.tar"), layout)
			blobs := hostileLayers(t, layout)
			if diff := cmp.Diff([]string{"app/node_modules/good/package.json: good 1.0.0"}, describeLayer(runLayerFile(t, blobs[0]))); diff != "" {
				t.Errorf("layer 0 (-want +got):\n%s", diff)
			}
			start := time.Now()
			l := runLayerFile(t, blobs[1])
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("layer 1 took %v", d)
			}
			problems := l.Problems
			l.Problems = nil
			got := describeLayer(l)
			for _, p := range problems {
				got = append(got, "! "+p.Path)
			}
			slices.Sort(got[len(got)-len(problems):])
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("layer 1 (-want +got):\n%s", diff)
			}
		})
	}
}
