package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"strata/internal/image"
)

func TestParseDocumentRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		``:                                    "not valid JSON",
		`{}`:                                  "neither layers nor manifests",
		`[]`:                                  "not valid JSON",
		`{"schemaVersion":1,"fsLayers":[{}]}`: "schema 1",
		`{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}`:                          "ambiguous",
		`{"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}`:                 "ambiguous",
		`{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","manifests":[]}`: "ambiguous",
		`{"layers":[{"digest":"sha256:../../etc/passwd"}]}`:                                   "not a valid manifest",
		`{"layers":[{"digest":"md5:aa"}]}`:                                                    "not a valid manifest",
		`{"layers":[{"size":1e300}]}`:                                                         "not a valid manifest",
		`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}`:            "not a container image",
		`{"manifests":{}}`: "not a valid index",
		`{"layers":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`: "not valid JSON",
	} {
		if _, err := parseDocument([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseDocument(%.80s): %v, want %q", raw, err, want)
		}
	}
}

// memory is a store of documents for tests.
type memory map[image.Digest][]byte

func (m memory) manifest(_ context.Context, d image.Digest) ([]byte, error) {
	if b, ok := m[d]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("blob %s is not there: %w", d, fs.ErrNotExist)
}

func (m memory) blob(ctx context.Context, d image.Digest, _ int64) (io.ReadCloser, error) {
	b, err := m.manifest(ctx, d)
	return io.NopCloser(strings.NewReader(string(b))), err
}

// put stores a document and gives its descriptor.
func (m memory) put(mediaType types.MediaType, raw string) v1.Descriptor {
	d := digestOf([]byte(raw))
	m[d] = []byte(raw)
	return v1.Descriptor{MediaType: mediaType, Digest: v1.Hash{Algorithm: "sha256", Hex: d.Hex()}, Size: int64(len(raw))}
}

// image stores an image without layers, of a platform or of none.
func (m memory) image(platform string) v1.Descriptor {
	p, _ := image.ParsePlatform(platform)
	c := m.put(types.OCIConfigJSON, fmt.Sprintf(`{"os":%q,"architecture":%q,"variant":%q}`, p.OS, p.Architecture, p.Variant))
	return m.put(types.OCIManifestSchema1, fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`, c.MediaType, c.Digest, c.Size))
}

func (m memory) index(children ...v1.Descriptor) v1.Descriptor {
	var list []string
	for _, c := range children {
		platform := ""
		if c.Platform != nil {
			platform = fmt.Sprintf(`,"platform":{"os":%q,"architecture":%q,"variant":%q}`, c.Platform.OS, c.Platform.Architecture, c.Platform.Variant)
		}
		list = append(list, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, c.MediaType, c.Digest, c.Size, platform))
	}
	return m.put(types.OCIImageIndex, `{"schemaVersion":2,"manifests":[`+strings.Join(list, ",")+`]}`)
}

// named is a descriptor with the platform in the index.
func named(d v1.Descriptor, platform string) v1.Descriptor {
	p, _ := image.ParsePlatform(platform)
	d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
	return d
}

func TestPlatforms(t *testing.T) {
	s := memory{}
	of := func(platforms ...string) v1.Descriptor {
		var children []v1.Descriptor
		for _, p := range platforms {
			children = append(children, named(s.image(p), p))
		}
		return s.index(children...)
	}
	unnamed := s.index(s.image("linux/s390x"), s.image("linux/arm64"))
	arms := of("linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/arm64/v8", "linux/amd64", "windows/amd64")
	attested := s.index(named(s.image("linux/s390x"), "linux/s390x"), named(s.image("unknown/unknown"), "unknown/unknown"))
	nested := s.index(arms, s.index(s.index(unnamed)))
	chart := s.put(types.OCIManifestSchema1, `{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"sha256:`+strings.Repeat("a", 64)+`","size":2},"layers":[]}`)
	deep := of("linux/amd64")
	for range 20 {
		deep = s.index(deep)
	}
	sparse := s.index(named(s.image("linux/s390x"), "linux/s390x"), named(v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("b", 64)}, Size: 5}, "linux/mips"))

	for _, tt := range []struct {
		name     string
		root     v1.Descriptor
		platform string
		all      bool
		// wants is the one platform that is wanted of all; empty for every one.
		wants   string
		want    []string
		wantErr string
	}{
		{name: "asked", root: arms, platform: "linux/arm64", want: []string{"linux/arm64/v8"}},
		{name: "variant", root: arms, platform: "linux/arm/v6", want: []string{"linux/arm/v6"}},
		{name: "usual variant", root: arms, platform: "linux/arm", want: []string{"linux/arm/v7"}},
		{name: "implied variant", root: of("linux/arm64", "linux/arm"), platform: "linux/arm64/v8", want: []string{"linux/arm64"}},
		{name: "other name", root: arms, platform: "windows/x86_64", want: []string{"windows/amd64"}},
		{name: "none fits", root: arms, platform: "linux/s390x", wantErr: "no image for linux/s390x, there is one for: linux/arm/v5, linux/arm/v7"},
		{name: "no such variant", root: arms, platform: "linux/arm/v8", wantErr: "no image for linux/arm/v8"},
		{name: "by configuration", root: unnamed, platform: "linux/arm64", want: []string{"linux/arm64"}},
		{name: "by configuration, none", root: unnamed, platform: "linux/mips", wantErr: "linux/s390x, linux/arm64"},
		{name: "the only one", root: attested, want: []string{"linux/s390x"}},
		{name: "the only one, not what was asked", root: attested, platform: "linux/amd64", wantErr: "is for linux/s390x, not for linux/amd64"},
		{name: "all", root: attested, all: true, want: []string{"linux/s390x"}},
		{name: "all, nested", root: nested, all: true, want: []string{"linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/arm64/v8", "linux/amd64", "windows/amd64", "linux/s390x", "linux/arm64"}},
		{name: "nested", root: nested, platform: "linux/s390x", want: []string{"linux/s390x"}},
		{name: "twice the same", root: of("linux/mips", "linux/mips"), want: []string{"linux/mips"}},
		{name: "chart", root: chart, wantErr: "its configuration is application/vnd.cncf.helm.config.v1+json"},
		{name: "image and chart", root: s.index(s.image("linux/mips"), chart), all: true, want: []string{"linux/mips"}},
		{name: "empty", root: s.index(), wantErr: "holds no image"},
		{name: "too deep", root: deep, wantErr: "nested more than 8 deep"},
		{name: "sparse", root: sparse, platform: "linux/s390x", want: []string{"linux/s390x"}},
		{name: "sparse, what is missing", root: sparse, platform: "linux/mips", wantErr: "is not there"},
		{name: "sparse, all", root: sparse, all: true, wantErr: "is not there"},
		{name: "sparse, what is wanted", root: sparse, all: true, wants: "linux/s390x", want: []string{"linux/s390x"}},
		{name: "nothing is wanted", root: sparse, all: true, wants: "linux/amd64"},
		{name: "wanted by configuration", root: unnamed, all: true, wants: "linux/arm64", want: []string{"linux/arm64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := image.ParsePlatform(tt.platform)
			o := Options{Platform: p, AllPlatforms: tt.all}
			if tt.wants != "" {
				o.Wants = func(p image.Platform) bool { return p.String() == tt.wants }
			}
			images, err := newResolver(s, o.defaulted()).images(t.Context(), []v1.Descriptor{tt.root})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("%v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range images {
				got = append(got, m.Platform.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSizesOfDocuments(t *testing.T) {
	s := memory{}
	d := s.image("linux/amd64")
	for size, want := range map[int64]string{d.Size + 1: "its descriptor says", 0: "its descriptor says"} {
		d.Size = size
		_, err := newResolver(s, Options{}.defaulted()).images(t.Context(), []v1.Descriptor{d})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	huge := s.put(types.OCIManifestSchema1, `{"config":{"digest":"sha256:`+strings.Repeat("a", 64)+`","size":99999999999},"layers":[]}`)
	if _, err := newResolver(s, Options{}.defaulted()).images(t.Context(), []v1.Descriptor{huge}); err == nil || !strings.Contains(err.Error(), "read up to 8 MiB") {
		t.Errorf("a huge configuration: %v", err)
	}
}

func TestAlignHistory(t *testing.T) {
	made, empty := step{CreatedBy: "RUN a"}, step{CreatedBy: "ENV a", EmptyLayer: true}
	for name, tt := range map[string]struct {
		history []step
		n       int
		want    []step
	}{
		"aligned":  {[]step{made, empty, made}, 2, []step{made, made}},
		"none":     {nil, 2, make([]step, 2)},
		"too few":  {[]step{made, empty}, 2, make([]step, 2)},
		"too many": {[]step{made, made, made}, 2, make([]step, 2)},
	} {
		if diff := cmp.Diff(tt.want, alignHistory(tt.history, tt.n)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestConfigIsReadLeniently(t *testing.T) {
	c, err := parseConfig([]byte(`{"created":"yesterday","history":[{"created":7,"comment":"imported"}],"config":null,"rootfs":{"diff_ids":["sha256:` + strings.Repeat("a", 64) + `"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	m := c.image(nil)
	if !m.Created.Equal(time.Time{}) || m.Layers[0].CreatedBy != "imported" {
		t.Errorf("%+v", m)
	}
	if _, err := parseConfig([]byte(`{"rootfs":{"diff_ids":["sha256:../x"]}}`)); err == nil {
		t.Error("a wrong diff id was taken")
	}
}

func FuzzParseDocument(f *testing.F) {
	s := memory{}
	s.index(s.image("linux/amd64"), named(s.image("linux/arm"), "linux/arm/v7"))
	for _, b := range s {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := parseDocument(raw)
		if err == nil && (d.manifest == nil) == (d.index == nil) {
			t.Error("neither or both of manifest and index")
		}
		s := memory{}
		root := s.put("", string(raw))
		images, err := newResolver(s, Options{AllPlatforms: true}.defaulted()).images(t.Context(), []v1.Descriptor{root})
		if err == nil && len(images) == 0 {
			t.Error("no image and no error")
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","history":[{"created":"2024-01-01T00:00:00Z","empty_layer":true}],"rootfs":{"diff_ids":["sha256:`+strings.Repeat("a", 64)+`"]}}`), 1)
	f.Fuzz(func(t *testing.T, raw []byte, layers int) {
		m := &v1.Manifest{}
		for range layers & 15 {
			m.Layers = append(m.Layers, v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}})
		}
		img, err := imageOf(m, raw)
		if err == nil && len(img.Layers) != len(m.Layers) {
			t.Errorf("%d layers of %d", len(img.Layers), len(m.Layers))
		}
	})
}

func FuzzParseSaved(f *testing.F) {
	f.Add([]byte(`[{"Config":"a.json","RepoTags":["a:1"],"Layers":["x/layer.tar"]}]`), "a:1")
	f.Add([]byte(`[{"Config":"blobs/sha256/aa","RepoTags":null,"Layers":null}]`), "@0")
	f.Fuzz(func(t *testing.T, raw []byte, tag string) {
		all, err := parseSaved(raw)
		if err != nil {
			return
		}
		if s, err := chooseSaved(all, Ref{Path: "x", Tag: tag}); err == nil {
			a := &archive{entries: map[string]entry{}}
			if _, err := a.dockerImage(s); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v, want that the configuration is missing", err)
			}
		}
	})
}

func TestRunConfig(t *testing.T) {
	for text, want := range map[string]image.Config{
		`{"config": {"User": "app:app", "Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": ["y", "z"], "WorkingDir": "/w", "Labels": {"a": "b"}}}`: {
			User: "app:app", Env: []string{"A=b"}, Entrypoint: []string{"/x"}, Cmd: []string{"y", "z"}, WorkingDir: "/w"},
		`{"config": {"User": "app", "Env": 7, "Entrypoint": "x", "Cmd": null}}`: {User: "app"},
		`{"config": null}`: {},
		`{}`:               {},
	} {
		c, err := parseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.image(nil).Config); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	if _, err := parseConfig([]byte(`{"config": {"Labels": 1}}`)); err == nil {
		t.Error("labels that are none are no error")
	}
}
