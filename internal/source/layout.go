package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"strata/internal/image"
)

// layoutFile and indexFile are the fixed names of OCI image-spec,
// image-layout.md.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
)

// openLayout opens an image of an OCI layout in a folder.
func openLayout(ctx context.Context, r Ref, o Options) ([]*image.Image, io.Closer, error) {
	root, err := os.OpenRoot(r.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("OCI layout: %w", err)
	}
	l := folder{root}
	images, err := layoutImages(ctx, l.document, l, r, o)
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return images, root, nil
}

// layoutImages opens images of a layout, in a folder or in an archive, whose
// documents are read by their path.
func layoutImages(ctx context.Context, read func(string) ([]byte, error), s store, r Ref, o Options) ([]*image.Image, error) {
	if err := checkLayout(read); err != nil {
		return nil, err
	}
	raw, err := read(indexFile)
	if err != nil {
		return nil, fmt.Errorf("OCI layout: %s: %w", indexFile, err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("OCI layout: %s is not a valid index: %w", indexFile, err)
	}
	roots, err := chooseRoots(index.Manifests, r)
	if err != nil {
		return nil, err
	}
	return newResolver(s, o).images(ctx, roots)
}

// checkLayout reads the version of a layout. Layouts without the file, which
// some tools write, are taken as of the only version there is.
func checkLayout(read func(string) ([]byte, error)) error {
	raw, err := read(layoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("OCI layout: %s: %w", layoutFile, err)
	}
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(raw, &layout); err != nil {
		return fmt.Errorf("OCI layout: %s is not valid JSON: %w", layoutFile, err)
	}
	if !strings.HasPrefix(layout.Version, "1.") {
		return fmt.Errorf("OCI layout: its version is %q, we know 1.0.0", layout.Version)
	}
	return nil
}

// chooseRoots picks the descriptors that a tag or digest names. Without one, the
// layout must hold one image, be it for several platforms.
func chooseRoots(all []v1.Descriptor, r Ref) ([]v1.Descriptor, error) {
	all = slices.DeleteFunc(slices.Clone(all), isAttestation)
	if r.Tag != "" {
		chosen := slices.DeleteFunc(slices.Clone(all), func(d v1.Descriptor) bool { return !names(d, r.Tag) })
		if len(chosen) == 0 {
			return nil, fmt.Errorf("the layout has no image %q, choose one of: %s", r.Tag, choices(all, r))
		}
		return chosen, nil
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the layout holds no image: its index.json is empty")
	case oneImage(all):
		return all, nil
	}
	return nil, fmt.Errorf("the layout holds several images, choose one of: %s", choices(all, r))
}

// refName annotates a descriptor with its tag (OCI image-spec, annotations.md);
// containerdName with the whole name, by containerd and BuildKit.
const (
	refName        = "org.opencontainers.image.ref.name"
	containerdName = "io.containerd.image.name"
)

func names(d v1.Descriptor, tag string) bool {
	if digest, ok := strings.CutPrefix(tag, "@"); ok {
		return d.Digest.String() == digest
	}
	return d.Annotations[refName] == tag || d.Annotations[containerdName] == tag
}

// oneImage tells whether descriptors are all the same image, or the platforms of
// one: builders write these straight into index.json, without a name or all
// with the same.
func oneImage(all []v1.Descriptor) bool {
	same, platforms := true, true
	for _, d := range all {
		same = same && d.Digest == all[0].Digest
		platforms = platforms && d.Platform != nil && d.Annotations[refName] == all[0].Annotations[refName]
	}
	return same || platforms
}

// maxChoices bounds how many images an error lists.
const maxChoices = 40

func choices(all []v1.Descriptor, r Ref) string {
	var list []string
	for _, d := range all {
		switch {
		case d.Annotations[refName] != "":
			list = append(list, r.choice(d.Annotations[refName]))
		case d.Annotations[containerdName] != "":
			list = append(list, r.choice(d.Annotations[containerdName]))
		default:
			list = append(list, r.choice("@"+d.Digest.String()))
		}
	}
	return joinChoices(list)
}

func joinChoices(list []string) string {
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) == 0 {
		return "(none)"
	}
	if n := len(list) - maxChoices; n > 0 {
		list = append(list[:maxChoices:maxChoices], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(list, ", ")
}

// choice is the reference by which the image of a tag can be asked for.
func (r Ref) choice(tag string) string {
	prefix := ""
	if strings.HasPrefix(r.String, string(r.Scheme)+":") {
		prefix = string(r.Scheme) + ":"
	}
	if strings.HasPrefix(tag, "@") {
		return prefix + r.Path + tag
	}
	return prefix + r.Path + ":" + tag
}

// folder is the store of a layout on disk. No path leads out of its root, also
// not by symbolic links.
type folder struct{ root *os.Root }

func (f folder) manifest(ctx context.Context, d image.Digest) ([]byte, error) {
	r, err := f.blob(ctx, d, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readDocument(r)
}

func (f folder) blob(_ context.Context, d image.Digest, _ int64) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	file, err := f.open(blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s is not in the layout: %w", d, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return file, nil
}

func (f folder) document(name string) ([]byte, error) {
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readDocument(file)
}

// open opens a regular file: anything else could hang.
func (f folder) open(name string) (*os.File, error) {
	info, err := f.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return f.root.Open(name)
}

// blobPath is where a layout has a blob.
func blobPath(d image.Digest) string { return "blobs/sha256/" + d.Hex() }
