package imagetest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A file of an archive or layout directory.
type file struct {
	name string
	data []byte
}

// refName is the annotation that names an image of a layout (OCI image-spec,
// annotations.md).
const refName = "org.opencontainers.image.ref.name"

// layoutFiles are the files of an OCI layout (OCI image-spec, image-layout.md)
// that holds the images, each under the tag of its name; several of one name are
// the platforms of an index.
func layoutFiles(images []*Image) []file {
	files := []file{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	seen := map[string]bool{}
	blob := func(data []byte) {
		name := blobPath(data)
		if !seen[name] {
			seen[name] = true
			files = append(files, file{name, data})
		}
	}
	ix := newIndex()
	for _, group := range byName(images) {
		for _, m := range group {
			blob(m.Manifest)
			blob(m.Config)
			for _, l := range m.Blobs {
				blob(l)
			}
		}
		d := group[0].descriptor()
		if len(group) > 1 {
			child := indexOf(group)
			blob(child)
			d = describe(indexType, child)
		}
		if name := group[0].Name; name != "" {
			_, tag := SplitName(name)
			d.Annotations = map[string]string{refName: tag}
		}
		ix.Manifests = append(ix.Manifests, d)
	}
	return append(files, file{"index.json", mustJSON(ix)})
}

// byName groups images of one name, in the order of their first; those without a
// name stand alone.
func byName(images []*Image) [][]*Image {
	var groups [][]*Image
	place := map[string]int{}
	for _, m := range images {
		i, ok := place[m.Name]
		if !ok || m.Name == "" {
			i = len(groups)
			place[m.Name] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

func newIndex() index {
	return index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{}}
}

// indexOf is the index of which the images are the platforms.
func indexOf(images []*Image) []byte {
	ix := newIndex()
	for _, m := range images {
		ix.Manifests = append(ix.Manifests, m.descriptor())
	}
	return mustJSON(ix)
}

func (m *Image) descriptor() descriptor {
	d := describe(manifestType, m.Manifest)
	p := m.platform()
	d.Platform = &p
	return d
}

// SplitName cuts a name into repository and tag; the tag defaults to latest.
func SplitName(name string) (repository, tag string) {
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.ContainsRune(name[i:], '/') {
		return name, "latest"
	}
	return name[:i], name[i+1:]
}

func blobPath(data []byte) string {
	return "blobs/" + strings.Replace(Digest(data), ":", "/", 1)
}

// WriteOCILayout writes the images as an OCI layout into the directory, which it
// makes when it is missing.
func WriteOCILayout(dir string, images ...*Image) error {
	for _, f := range layoutFiles(images) {
		p := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// WriteOCIArchive writes the images as an OCI layout in a tar.
func WriteOCIArchive(w io.Writer, images ...*Image) error {
	return writeTar(w, layoutFiles(images))
}

// WriteDockerArchive writes the images in the form of docker save up to version
// 24: a manifest.json, the configurations, and uncompressed layers in a
// directory each. A layer that several images share is written once.
func WriteDockerArchive(w io.Writer, images ...*Image) error {
	type item struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var files []file
	var items []item
	seen := map[string]bool{}
	for _, m := range images {
		it := item{Config: hexOf(m.Config) + ".json", Layers: []string{}}
		files = append(files, file{it.Config, m.Config})
		if m.Name != "" {
			repository, tag := SplitName(m.Name)
			it.RepoTags = []string{repository + ":" + tag}
		}
		for _, plain := range m.Tars {
			name := hexOf(plain) + "/layer.tar"
			it.Layers = append(it.Layers, name)
			if !seen[name] {
				seen[name] = true
				files = append(files, file{name, plain})
			}
		}
		items = append(items, it)
	}
	return writeTar(w, append(files, file{"manifest.json", mustJSON(items)}))
}

func hexOf(data []byte) string { return strings.TrimPrefix(Digest(data), "sha256:") }

func writeTar(w io.Writer, files []file) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: Epoch}
		if err := t.WriteHeader(&h); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if _, err := t.Write(f.data); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return t.Close()
}

// A Format is a way to store images in a file.
type Format string

// The formats of WriteFile.
const (
	OCIArchive    Format = "oci-archive"
	DockerArchive Format = "docker-archive"
	OCILayout     Format = "oci"
)

// WriteFile writes the images at path in the format.
func WriteFile(path string, format Format, images ...*Image) error {
	write := WriteOCIArchive
	switch format {
	case OCILayout:
		return WriteOCILayout(path, images...)
	case DockerArchive:
		write = WriteDockerArchive
	case OCIArchive:
	default:
		return fmt.Errorf("format %q: want %s, %s or %s", format, OCIArchive, DockerArchive, OCILayout)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f, images...), f.Close())
}
