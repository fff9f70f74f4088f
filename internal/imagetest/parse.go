package imagetest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
)

// Parse reads the picture of an image: a txtar file whose sections are the
// entries of the layers, in the order in which they stand in the tar.
//
//	# a comment
//	name: demo/app:1.0
//	platform: linux/arm64/v8
//	created: 2024-05-06T07:08:09Z
//	label: maintainer=team
//	annotation: org.opencontainers.image.base.name=debian:12
//	created_by: layer0: ADD rootfs.tar /
//	before: layer1: ENV LANG=C          an instruction that made no layer
//	after: CMD ["bash"]                 one at the end of the history
//	compression: layer1: zstd           gzip (default), zstd or none
//	layers: 3                           for empty layers at the end
//	-- layer0/etc/os-release --         a file
//	ID=debian
//	-- layer0/etc/ --                   a directory
//	-- layer0/bin -> usr/bin --         a symbolic link
//	-- layer0/usr/bin/b => usr/bin/a -- a hard link
//	-- layer0/app/run (0755) --         a file's mode
//	-- layer0/app/logo.png (base64) --  content in base64
//	-- layer0/app/blob (fill=4096) --   so many bytes that don't compress
//	-- layer0/app/empty (trim) --       without the newline at the end
//	-- layer1/app/a.jar!/b.class --     a member of a zip archive; neighbours
//	                                    are one archive, and archives nest
//	-- layer1/usr/lib/.wh.foo --        a whiteout is a file like any other
//	-- want --                          anything else goes to Spec.Extra
//
// Errors name the line or section that is wrong.
func Parse(picture []byte) (*Spec, error) {
	archive := txtar.Parse(picture)
	s := &Spec{Extra: map[string][]byte{}}
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.setting(line); err != nil {
			return nil, fmt.Errorf("image picture, line %q: %w", line, err)
		}
	}
	for _, f := range archive.Files {
		if err := s.section(f); err != nil {
			return nil, fmt.Errorf("image picture, section %q: %w", f.Name, err)
		}
	}
	if err := s.closeZips(); err != nil {
		return nil, fmt.Errorf("image picture: %w", err)
	}
	return s, nil
}

// setting applies one line of the comment.
func (s *Spec) setting(line string) error {
	key, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !ok {
		return fmt.Errorf("want KEY: VALUE, or # before a comment")
	}
	var err error
	switch key {
	case "name":
		s.Name = value
	case "platform":
		parts := strings.Split(value, "/")
		if len(parts) < 2 || len(parts) > 3 {
			return fmt.Errorf("want os/arch or os/arch/variant")
		}
		s.OS, s.Architecture = parts[0], parts[1]
		s.Variant = strings.Join(parts[2:], "")
	case "created":
		s.Created, err = time.Parse(time.RFC3339, value)
	case "label":
		err = put(&s.Labels, value)
	case "annotation":
		err = put(&s.Annotations, value)
	case "after":
		s.After = append(s.After, value)
	case "layers":
		var n int
		if n, err = strconv.Atoi(value); err == nil && n > 0 {
			_, err = s.layer(n - 1)
		}
	case "created_by", "before", "compression":
		err = s.layerSetting(key, value)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

// put adds NAME=VALUE.
func put(to *map[string]string, pair string) error {
	k, v, ok := strings.Cut(pair, "=")
	if !ok {
		return fmt.Errorf("want NAME=VALUE")
	}
	if *to == nil {
		*to = map[string]string{}
	}
	(*to)[k] = v
	return nil
}

// layerSetting applies "layerN: VALUE" of the key.
func (s *Spec) layerSetting(key, value string) error {
	name, value, ok := strings.Cut(value, ":")
	n, isLayer := layerNumber(name)
	if !ok || !isLayer {
		return fmt.Errorf("want %s: layerN: VALUE", key)
	}
	l, err := s.layer(n)
	if err != nil {
		return err
	}
	value = strings.TrimSpace(value)
	switch key {
	case "created_by":
		l.CreatedBy = value
	case "before":
		l.Before = append(l.Before, value)
	case "compression":
		if value == "gzip" {
			value = string(Gzip)
		}
		l.Compression = Compression(value)
		_, err = l.Compression.compress(nil)
	}
	return err
}

// maxLayers keeps a slip in a picture from filling the memory.
const maxLayers = 1000

// layer returns layer n, which it makes, with those below it, when it is new.
func (s *Spec) layer(n int) (*Layer, error) {
	if n >= maxLayers {
		return nil, fmt.Errorf("layer%d: at most %d layers", n, maxLayers)
	}
	for len(s.Layers) <= n {
		s.Layers = append(s.Layers, Layer{})
	}
	return &s.Layers[n], nil
}

func layerNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "layer")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

// attributes matches what may follow a name: " (0755)", " (base64, 0755)".
var attributes = regexp.MustCompile(`^(.*) \(([a-z0-9=, ]+)\)$`)

// section adds one section as an entry of its layer, or to Extra.
func (s *Spec) section(f txtar.File) error {
	head, name, _ := strings.Cut(f.Name, "/")
	n, ok := layerNumber(head)
	if !ok {
		s.Extra[f.Name] = f.Data
		return nil
	}
	l, err := s.layer(n)
	if err != nil {
		return err
	}
	e, err := entry(name, f.Data)
	if err != nil {
		return err
	}
	l.Entries = append(l.Entries, e)
	return nil
}

// entry makes the tar entry that a section's name and content tell.
func entry(name string, data []byte) (Entry, error) {
	var words []string
	if m := attributes.FindStringSubmatch(name); m != nil {
		name = m[1]
		words = strings.Split(m[2], ",")
	}
	e := File(name, string(data))
	if from, to, ok := strings.Cut(name, " -> "); ok {
		e = Symlink(from, to)
	} else if from, to, ok := strings.Cut(name, " => "); ok {
		e = Hardlink(from, to)
	} else if strings.HasSuffix(name, "/") {
		e = Dir(name)
	}
	if e.Header.Name == "" {
		return e, fmt.Errorf("no path after the layer")
	}
	if e.Header.Typeflag != tar.TypeReg && len(bytes.TrimSpace(data)) > 0 {
		return e, fmt.Errorf("a link or directory has no content")
	}
	for _, w := range words {
		if err := e.attribute(strings.TrimSpace(w)); err != nil {
			return e, err
		}
	}
	return e, nil
}

// attribute applies one word in parentheses.
func (e *Entry) attribute(word string) error {
	if mode, err := strconv.ParseInt(word, 8, 32); err == nil {
		e.Header.Mode = mode
		return nil
	}
	if n, ok := strings.CutPrefix(word, "fill="); ok {
		size, err := strconv.Atoi(n)
		if err != nil || size < 0 || size > maxFill {
			return fmt.Errorf("fill=%s: want a number of bytes up to %d", n, maxFill)
		}
		e.Body = noise(size)
		return nil
	}
	switch word {
	case "trim":
		e.Body = bytes.TrimSuffix(e.Body, []byte("\n"))
	case "base64":
		text := strings.Join(strings.Fields(string(e.Body)), "")
		body, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return err
		}
		e.Body = body
	default:
		return fmt.Errorf("unknown attribute %q: want an octal mode, base64, trim or fill=BYTES", word)
	}
	return nil
}

// maxFill is what fill= may ask for: 1 GiB.
const maxFill = 1 << 30

// noise is n bytes that don't compress, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{'s', 't', 'r', 'a', 't', 'a'}).Read(b) // never fails
	return b
}

// zipMark stands between an archive and its member, as in Java's jar: URLs.
const zipMark = "!/"

// closeZips makes one entry of neighbouring entries that are members of the
// same zip archive.
func (s *Spec) closeZips() error {
	for i := range s.Layers {
		entries, err := gatherZips(s.Layers[i].Entries)
		if err != nil {
			return fmt.Errorf("layer%d: %w", i, err)
		}
		s.Layers[i].Entries = entries
	}
	return nil
}

func gatherZips(in []Entry) ([]Entry, error) {
	var out []Entry
	for len(in) > 0 {
		archive, _, ok := strings.Cut(in[0].Header.Name, zipMark)
		if !ok {
			out = append(out, in[0])
			in = in[1:]
			continue
		}
		var members []Entry
		for len(in) > 0 && strings.HasPrefix(in[0].Header.Name, archive+zipMark) {
			e := in[0]
			e.Header.Name = strings.TrimPrefix(e.Header.Name, archive+zipMark)
			members = append(members, e)
			in = in[1:]
		}
		body, err := zipOf(members)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		out = append(out, File(archive, string(body)))
	}
	return out, nil
}

// zipOf makes a zip archive; members that are archives with members nest.
func zipOf(members []Entry) ([]byte, error) {
	members, err := gatherZips(members)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, m := range members {
		// Stored when it is an archive itself, as build tools do in a war.
		method := zip.Deflate
		switch path.Ext(m.Header.Name) {
		case ".jar", ".war", ".zip":
			method = zip.Store
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.Header.Name, Method: method, Modified: Epoch})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(m.Body); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
