package advisory

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// maxArchiveEntries is many times the largest ecosystem's.
const maxArchiveEntries = 5_000_000

// An Archive holds all records of an ecosystem. Its methods are safe for
// concurrent use, Close excepted.
type Archive struct {
	ids    []string
	byID   map[string]int
	read   func(i int) ([]byte, error)
	closer io.Closer
}

// Archive opens the all.zip of an ecosystem. What comes over the network is kept
// in a temporary file without a name, which is gone with the process.
func (m *Mirror) Archive(ctx context.Context, ecosystem string) (*Archive, error) {
	name := ecosystem + "/all.zip"
	if err := validateEcosystem(ecosystem); err != nil {
		return nil, m.wrap(name, err)
	}
	a, err := m.archive(ctx, ecosystem, name)
	if err != nil {
		return nil, m.wrap(name, err)
	}
	return a, nil
}

func (m *Mirror) archive(ctx context.Context, ecosystem, name string) (*Archive, error) {
	r, size, err := m.files.open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && m.starter {
		return m.looseFiles(ecosystem)
	}
	if err != nil {
		return nil, err
	}
	if at, ok := r.(io.ReaderAt); ok {
		return newZipArchive(at, size, r)
	}
	defer r.Close()
	f, size, err := spool(r, m.tempDir, maxArchiveBytes)
	if err != nil {
		return nil, err
	}
	return newZipArchive(f, size, f)
}

// spool copies r, of at most so many bytes, to a temporary file that no longer has a name, so that no exit
// of the process leaves it behind.
func spool(r io.Reader, dir string, most int64) (*os.File, int64, error) {
	f, err := os.CreateTemp(dir, "strata-osv-*.zip")
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("more than the limit of %d bytes", most)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, n, nil
}

func newZipArchive(at io.ReaderAt, size int64, c io.Closer) (*Archive, error) {
	z, err := zip.NewReader(at, size)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if len(z.File) > maxArchiveEntries {
		return nil, errors.Join(fmt.Errorf("%d entries, more than the limit of %d", len(z.File), maxArchiveEntries), c.Close())
	}
	var files []*zip.File
	a := &Archive{closer: c, byID: make(map[string]int, len(z.File))}
	for _, f := range z.File {
		id, ok := strings.CutSuffix(path.Base(f.Name), ".json")
		if !ok || ValidateID(id) != nil {
			continue
		}
		a.byID[id] = len(files)
		a.ids, files = append(a.ids, id), append(files, f)
	}
	if len(files) == 0 {
		return nil, errors.Join(errors.New("the archive holds no record"), c.Close())
	}
	a.read = func(i int) ([]byte, error) {
		r, err := files[i].Open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readLimited(r, MaxRecordBytes)
	}
	return a, nil
}

// looseFiles makes an archive of a folder's records.
func (m *Mirror) looseFiles(ecosystem string) (*Archive, error) {
	dir, ok := m.files.(folder)
	if !ok {
		return nil, fs.ErrNotExist
	}
	names, err := fs.Glob(dir.FS, ecosystem+"/*.json")
	if err != nil || len(names) == 0 {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	slices.Sort(names)
	a := &Archive{byID: map[string]int{}, closer: io.NopCloser(nil)}
	for i, name := range names {
		id := strings.TrimSuffix(path.Base(name), ".json")
		a.ids, a.byID[id] = append(a.ids, id), i
	}
	a.read = func(i int) ([]byte, error) { return fs.ReadFile(dir.FS, names[i]) }
	return a, nil
}

// Len is the number of records.
func (a *Archive) Len() int { return len(a.ids) }

// ID is the id of the i-th record, by its file's name.
func (a *Archive) ID(i int) string { return a.ids[i] }

// Lookup finds a record by id.
func (a *Archive) Lookup(id string) (i int, ok bool) {
	i, ok = a.byID[id]
	return i, ok
}

// Read reads and parses the i-th record.
func (a *Archive) Read(i int) (Record, error) {
	b, err := a.read(i)
	if err != nil {
		return Record{}, fmt.Errorf("%s.json: %w", a.ids[i], err)
	}
	r, err := Parse(b)
	if err != nil {
		return Record{}, fmt.Errorf("%s.json: %w", a.ids[i], err)
	}
	if r.ID != a.ids[i] {
		return Record{}, fmt.Errorf("%s.json: holds the record %q", a.ids[i], r.ID)
	}
	return r, nil
}

// Close frees the archive.
func (a *Archive) Close() error { return a.closer.Close() }
