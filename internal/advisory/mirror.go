package advisory

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Default places of the public data.
const (
	// DefaultMirror is OSV's bulk export (https://google.github.io/osv.dev/data/).
	DefaultMirror = "https://osv-vulnerabilities.storage.googleapis.com"
	// DefaultKEV is CISA's catalogue.
	DefaultKEV = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
	// DefaultEPSS is FIRST's file of today's scores.
	DefaultEPSS = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
)

// Limits of a mirror's files.
const (
	maxEcosystemsBytes = 1 << 20
	maxModifiedBytes   = 512 << 20
	maxArchiveBytes    = 16 << 30
	maxListBytes       = 512 << 20
)

// MirrorOptions of OpenMirror. The zero value is useful.
type MirrorOptions struct {
	// Client for http(s); by default one with timeouts and retries of its own.
	Client *http.Client
	// Log gets a line per retry; nil is silent.
	Log *slog.Logger
	// TempDir holds archives while they are read; empty for the system's.
	TempDir string
	// RetryWait is the pause before the second attempt, doubled for each
	// further one; half a second by default.
	RetryWait time.Duration
}

// A Mirror is a place with the layout of OSV's bulk export:
//
//	ecosystems.txt
//	<Ecosystem>/all.zip
//	<Ecosystem>/modified_id.csv
//	<Ecosystem>/<ID>.json
//
// Its methods are safe for concurrent use. What isn't there is an error that
// wraps fs.ErrNotExist.
type Mirror struct {
	location string
	files    opener
	tempDir  string
	starter  bool
}

// An opener opens the files of a mirror, whose names are slash-separated and
// not escaped.
type opener interface {
	// open returns the file, from its start, and its size, -1 when not known.
	open(ctx context.Context, name string) (io.ReadCloser, int64, error)
}

// OpenMirror takes an http(s) URL, a file URL or the path of a directory.
func OpenMirror(location string, o MirrorOptions) (*Mirror, error) {
	m := &Mirror{location: location, tempDir: o.TempDir}
	if isWeb(location) {
		u, err := url.Parse(location)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("mirror %q: not a URL: want https://host/path or a directory", location)
		}
		m.location = Redact(location)
		m.files = newWeb(strings.TrimSuffix(location, "/")+"/", o)
		return m, nil
	}
	dir, err := filepath.Abs(strings.TrimPrefix(location, "file://"))
	if err != nil {
		return nil, fmt.Errorf("mirror %q: %w", location, err)
	}
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("mirror %q: %w: want a directory with ecosystems.txt, or an https URL", location, err)
	case !st.IsDir():
		return nil, fmt.Errorf("mirror %q: not a directory: want one with ecosystems.txt, or an https URL", location)
	}
	m.location, m.files = dir, folder{os.DirFS(dir)}
	return m, nil
}

func isWeb(location string) bool {
	return strings.HasPrefix(location, "https://") || strings.HasPrefix(location, "http://")
}

// Location is where the mirror is, without credentials.
func (m *Mirror) Location() string { return m.location }

// Starter tells whether it is the small set of records that comes with Strata.
func (m *Mirror) Starter() bool { return m.starter }

// Public tells whether it is OSV's own export.
func (m *Mirror) Public() bool { return strings.TrimSuffix(m.location, "/") == DefaultMirror }

// Ecosystems lists the ecosystems the mirror has, without suffixes.
func (m *Mirror) Ecosystems(ctx context.Context) ([]string, error) {
	r, _, err := m.files.open(ctx, "ecosystems.txt")
	if err != nil {
		return nil, m.wrap("ecosystems.txt", err)
	}
	defer r.Close()
	b, err := readLimited(r, maxEcosystemsBytes)
	if err != nil {
		return nil, m.wrap("ecosystems.txt", err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		name := strings.TrimSpace(line)
		// The export lists each release as well: Debian, Debian:12.
		if name == "" || strings.Contains(name, ":") || validateEcosystem(name) != nil {
			continue
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return nil, m.wrap("ecosystems.txt", errors.New("names no ecosystem"))
	}
	return out, nil
}

// validateEcosystem guards paths against names that lead elsewhere.
func validateEcosystem(name string) error {
	if name == "" || strings.ContainsAny(name, "/\\:") || strings.HasPrefix(name, ".") || plain("ecosystem", name, 100) != nil {
		return fmt.Errorf("ecosystem %q: not a name", clip(name, 100))
	}
	return nil
}

// A Change is a row of modified_id.csv.
type Change struct {
	ID       string
	Modified time.Time
}

// Modified lists the records of an ecosystem with the times of their last
// modification, in the file's order, newest first.
func (m *Mirror) Modified(ctx context.Context, ecosystem string) ([]Change, error) {
	name := ecosystem + "/modified_id.csv"
	if err := validateEcosystem(ecosystem); err != nil {
		return nil, m.wrap(name, err)
	}
	r, _, err := m.files.open(ctx, name)
	if err != nil {
		return nil, m.wrap(name, err)
	}
	defer r.Close()
	changes, err := ParseModified(io.LimitReader(r, maxModifiedBytes))
	if err != nil {
		return nil, m.wrap(name, err)
	}
	return changes, nil
}

// ParseModified reads a modified_id.csv: a time (RFC 3339) and an id a line. Any
// line that can't be read is an error: what the list lacks is taken as deleted.
func ParseModified(r io.Reader) ([]Change, error) {
	var out []Change
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		stamp, id, ok := strings.Cut(line, ",")
		if !ok {
			return nil, fmt.Errorf("line %d: want time,id", n)
		}
		t, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		// The list of all ecosystems has Ecosystem/ID.
		if i := strings.LastIndexByte(id, '/'); i >= 0 {
			id = id[i+1:]
		}
		if err := ValidateID(id); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, Change{ID: id, Modified: t.UTC()})
	}
	return out, s.Err()
}

// Record reads the JSON of one record from its own file, which not every mirror
// has.
func (m *Mirror) Record(ctx context.Context, ecosystem, id string) ([]byte, error) {
	name := ecosystem + "/" + id + ".json"
	if err := errors.Join(validateEcosystem(ecosystem), ValidateID(id)); err != nil {
		return nil, m.wrap(name, err)
	}
	r, _, err := m.files.open(ctx, name)
	if err != nil {
		return nil, m.wrap(name, err)
	}
	defer r.Close()
	b, err := readLimited(r, MaxRecordBytes)
	if err != nil {
		return nil, m.wrap(name, err)
	}
	return b, nil
}

func (m *Mirror) wrap(name string, err error) error {
	return fmt.Errorf("mirror %s: %s: %w", m.location, name, err)
}

// OpenList opens the file at a URL or path: a KEV or EPSS list. A ".gz" is left
// as it is.
func OpenList(ctx context.Context, location string, o MirrorOptions) (io.ReadCloser, error) {
	if !isWeb(location) {
		return os.Open(strings.TrimPrefix(location, "file://"))
	}
	i := strings.LastIndexByte(location, '/') + 1
	w := newWeb(location[:i], o)
	w.raw = true
	r, _, err := w.open(ctx, location[i:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(location), err)
	}
	return r, nil
}

// SpoolList is OpenList, but all of what comes over the network is here before it
// returns: in a temporary file without a name.
func SpoolList(ctx context.Context, location string, o MirrorOptions) (io.ReadCloser, error) {
	r, err := OpenList(ctx, location, o)
	if err != nil || !isWeb(location) {
		return r, err
	}
	defer r.Close()
	f, _, err := spool(r, o.TempDir, maxListBytes)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(location), err)
	}
	return f, nil
}

// Redact is a URL or path as it may be shown and stored: without a password, and
// without a name that stands alone, which is a token.
func Redact(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.User == nil {
		return location
	}
	if _, hasPassword := u.User.Password(); !hasPassword {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// folder is a mirror in a file system. Copies made with a browser or wget have
// escaped names: "Red%20Hat".
type folder struct{ fs.FS }

func (f folder) open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	file, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if escaped := escapePath(name); escaped != name {
			if g, err2 := f.Open(escaped); err2 == nil {
				file, err = g, nil
			}
		}
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := file.Stat()
	if err == nil && st.IsDir() {
		err = errors.New("is a directory")
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, st.Size(), nil
}

func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
