package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"strata/internal/advisory"
)

// advisorySchema is the version of the last migration in migrations/advisories.
const advisorySchema = 1

// lookupBatch is how many values one query takes: see bulkValues.
const lookupBatch = 100

// Advisories is a database of advisories: one SQLite file that never changes, or the
// tables of a server on PostgreSQL as they were at one moment. An update of the file
// makes a new one and puts it in the old one's place, so readers take no locks, never
// wait, and see one state from open to close. The methods of a file's are safe for
// concurrent use; those of PostgreSQL's are for one goroutine at a time.
type Advisories struct {
	ask   queryFunc
	close func() error
	path  string
}

func newAdvisories(db *sql.DB, path string) *Advisories {
	return &Advisories{ask: db.QueryContext, close: db.Close, path: path}
}

// OpenAdvisories opens the database at path. A missing file is an error that
// wraps fs.ErrNotExist.
func OpenAdvisories(path string) (*Advisories, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("advisory database: %w", err)
	}
	if st.IsDir() {
		return nil, fmt.Errorf("advisory database %s: is a directory", path)
	}
	db, err := sql.Open("sqlite", sqliteURI(path, "mode=ro", "immutable=1"))
	if err != nil {
		return nil, fmt.Errorf("advisory database %s: %w", path, err)
	}
	if err := checkSchema(context.Background(), db); err != nil {
		return nil, errors.Join(fmt.Errorf("advisory database %s: %w", path, err), db.Close())
	}
	return newAdvisories(db, path), nil
}

// sqliteURI is the name of a file for the driver; what is special in URIs is
// escaped.
func sqliteURI(path string, params ...string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: strings.Join(params, "&")}
	return u.String()
}

func checkSchema(ctx context.Context, db *sql.DB) error {
	version, err := schemaVersion(ctx, db)
	switch {
	case err != nil || version == 0:
		return errors.Join(errors.New("not an advisory database, or damaged: run `strata db update`, which makes it anew"), err)
	case version < advisorySchema:
		return fmt.Errorf("made by an older strata (schema %d, want %d): run `strata db update`", version, advisorySchema)
	case version > advisorySchema:
		return fmt.Errorf("%w (schema %d, want %d): use that one, or remove the file and run `strata db update`", errNewer, version, advisorySchema)
	}
	return nil
}

// Close frees the database.
func (a *Advisories) Close() error { return a.close() }

// Path is where the database lies; "PostgreSQL" for that of a server.
func (a *Advisories) Path() string { return a.path }

// Affecting gives all that advisories say of the packages, sorted by package and
// advisory: whether a version is among the affected is the caller's to tell.
func (a *Advisories) Affecting(ctx context.Context, keys []advisory.Key) ([]advisory.Entry, error) {
	byEcosystem := map[string][]string{}
	for _, k := range keys {
		byEcosystem[k.Ecosystem] = append(byEcosystem[k.Ecosystem], k.Name)
	}
	var out []advisory.Entry
	for ecosystem, names := range byEcosystem {
		slices.Sort(names)
		for batch := range slices.Chunk(slices.Compact(names), lookupBatch) {
			entries, err := a.affecting(ctx, ecosystem, batch)
			if err != nil {
				return nil, fmt.Errorf("advisory database %s: %w", a.path, err)
			}
			out = append(out, entries...)
		}
	}
	slices.SortFunc(out, func(x, y advisory.Entry) int {
		return firstNonZero(strings.Compare(x.Key.Ecosystem, y.Key.Ecosystem), strings.Compare(x.Key.Name, y.Key.Name), strings.Compare(x.Advisory, y.Advisory))
	})
	return out, nil
}

func firstNonZero(cs ...int) int {
	for _, c := range cs {
		if c != 0 {
			return c
		}
	}
	return 0
}

func (a *Advisories) affecting(ctx context.Context, ecosystem string, names []string) ([]advisory.Entry, error) {
	args := append(make([]any, 0, len(names)+1), ecosystem)
	for _, n := range names {
		args = append(args, n)
	}
	rows, err := a.ask(ctx, `SELECT name, advisory, ranges, versions, rating FROM advisory_packages
		WHERE ecosystem = $1 AND name IN (`+placeholders(2, len(names))+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []advisory.Entry
	for rows.Next() {
		var name, id, ranges, versions, rating string
		if err := rows.Scan(&name, &id, &ranges, &versions, &rating); err != nil {
			return nil, err
		}
		e := advisory.Entry{Advisory: id, Key: advisory.Key{Ecosystem: ecosystem, Name: name}}
		if e.Affected, err = decodeAffected(e.Key, ranges, versions, rating); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func decodeAffected(key advisory.Key, ranges, versions, rating string) (advisory.Affected, error) {
	out := advisory.Affected{Ecosystem: key.Ecosystem, Name: key.Name}
	var err error
	if out.Ranges, err = advisory.DecodeRanges(ranges); err != nil {
		return out, err
	}
	if out.Rating, err = advisory.DecodeRating(rating); err != nil {
		return out, err
	}
	if versions != "" {
		out.Versions = strings.Split(versions, "\n")
	}
	return out, nil
}

// placeholders is "$from, …", n of them.
func placeholders(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}

// Facts gives what is known of advisories by their ids, in the order of the ids;
// ids it doesn't know are left out.
func (a *Advisories) Facts(ctx context.Context, ids []string) ([]advisory.Facts, error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var out []advisory.Facts
	for batch := range slices.Chunk(ids, lookupBatch) {
		facts, err := a.facts(ctx, batch)
		if err != nil {
			return nil, fmt.Errorf("advisory database %s: %w", a.path, err)
		}
		out = append(out, facts...)
	}
	return out, nil
}

func (a *Advisories) facts(ctx context.Context, ids []string) ([]advisory.Facts, error) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := a.ask(ctx, `SELECT a.id, a.modified, a.published, a.summary, a.rating, a.links,
			v.id, v.aliases, v.rating, COALESCE(k.added, ''), COALESCE(k.ransomware, -1), COALESCE(e.score, 0), COALESCE(e.percentile, 0)
		FROM advisories a
		JOIN advisory_vulnerabilities av ON av.advisory = a.id
		JOIN vulnerabilities v ON v.id = av.vulnerability
		LEFT JOIN kev k ON k.cve = v.id
		LEFT JOIN epss e ON e.cve = v.id
		WHERE a.id IN (`+placeholders(1, len(ids))+`)
		ORDER BY a.id, v.id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []advisory.Facts
	for rows.Next() {
		f, v, err := scanFacts(rows)
		if err != nil {
			return nil, err
		}
		if len(out) == 0 || out[len(out)-1].ID != f.ID {
			out = append(out, f)
		}
		last := &out[len(out)-1]
		last.Vulnerabilities = append(last.Vulnerabilities, v)
	}
	return out, rows.Err()
}

func scanFacts(rows *sql.Rows) (f advisory.Facts, v advisory.Vulnerability, err error) {
	var modified, published, rating, links, aliases, vRating, added string
	var ransomware int
	if err := rows.Scan(&f.ID, &modified, &published, &f.Summary, &rating, &links,
		&v.ID, &aliases, &vRating, &added, &ransomware, &v.EPSS, &v.EPSSPercentile); err != nil {
		return f, v, err
	}
	f.Modified, f.Published = parseTime(modified), parseTime(published)
	f.References = strings.Fields(links)
	v.Aliases = strings.Fields(aliases)
	v.KEV, v.Ransomware, v.KEVAdded = ransomware >= 0, ransomware > 0, parseTime(added)
	if f.Rating, err = advisory.DecodeRating(rating); err != nil {
		return f, v, fmt.Errorf("%s: %w", f.ID, err)
	}
	if v.Rating, err = advisory.DecodeRating(vRating); err != nil {
		return f, v, fmt.Errorf("%s: %w", v.ID, err)
	}
	return f, v, nil
}

// Coverage lists the ecosystems, with release, of which advisories are there.
// An ecosystem that was taken in and has no advisories is not among them.
func (a *Advisories) Coverage(ctx context.Context) ([]advisory.Coverage, error) {
	sources, err := a.sources(ctx)
	if err != nil {
		return nil, fmt.Errorf("advisory database %s: %w", a.path, err)
	}
	rows, err := a.ask(ctx, `SELECT ecosystem, advisories FROM advisory_coverage ORDER BY ecosystem`)
	if err != nil {
		return nil, fmt.Errorf("advisory database %s: %w", a.path, err)
	}
	defer rows.Close()
	var out []advisory.Coverage
	for rows.Next() {
		var c advisory.Coverage
		if err := rows.Scan(&c.Ecosystem, &c.Advisories); err != nil {
			return nil, fmt.Errorf("advisory database %s: %w", a.path, err)
		}
		for _, s := range sources {
			if s.Ecosystem == advisory.Base(c.Ecosystem) {
				c.Synced, c.Starter = s.Synced, s.Starter
			}
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// AdvisoryStatus tells what a database holds and how old it is.
type AdvisoryStatus struct {
	Path string
	// Records in force, each counted once.
	Records int
	// Vulnerabilities they are about.
	Vulnerabilities int
	// Oldest is when the ecosystem that was brought up to date least recently
	// was; zero for a database without any.
	Oldest time.Time
	// Starter tells that all of it is the small set that comes with Strata.
	Starter    bool
	Ecosystems []EcosystemStatus
	Lists      []ListStatus
}

// EcosystemStatus tells what is there of one ecosystem's feed.
type EcosystemStatus struct {
	Ecosystem string
	// Mirror it came from.
	Mirror string
	// Starter tells that it is from the small set that comes with Strata.
	Starter bool
	// Synced is when it was last compared with the mirror.
	Synced time.Time
	// Records of the feed, withdrawn ones not counted.
	Records int
	// Newest is the last modification of a record.
	Newest time.Time
	// Releases of a distribution that advisories name, sorted.
	Releases []string
}

// ListStatus tells what is there of KEV or EPSS.
type ListStatus struct {
	// Name is "kev" or "epss".
	Name     string
	Location string
	Synced   time.Time
	Entries  int
}

// Status tells what the database holds.
func (a *Advisories) Status(ctx context.Context) (AdvisoryStatus, error) {
	s := AdvisoryStatus{Path: a.path}
	if err := a.status(ctx, &s); err != nil {
		return AdvisoryStatus{}, fmt.Errorf("advisory database %s: %w", a.path, err)
	}
	return s, nil
}

func (a *Advisories) status(ctx context.Context, s *AdvisoryStatus) error {
	var err error
	if s.Records, err = a.count(ctx, `SELECT COUNT(*) FROM advisories`); err != nil {
		return err
	}
	if s.Vulnerabilities, err = a.count(ctx, `SELECT COUNT(*) FROM vulnerabilities`); err != nil {
		return err
	}
	if s.Ecosystems, err = a.sources(ctx); err != nil {
		return err
	}
	if err := a.releases(ctx, s.Ecosystems); err != nil {
		return err
	}
	s.Starter = len(s.Ecosystems) > 0
	for _, e := range s.Ecosystems {
		s.Starter = s.Starter && e.Starter
		if s.Oldest.IsZero() || e.Synced.Before(s.Oldest) {
			s.Oldest = e.Synced
		}
	}
	s.Lists, err = a.lists(ctx)
	return err
}

func (a *Advisories) count(ctx context.Context, query string) (n int, err error) {
	rows, err := a.ask(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

func (a *Advisories) sources(ctx context.Context) ([]EcosystemStatus, error) {
	rows, err := a.ask(ctx, `SELECT ecosystem, mirror, starter, synced_at, records, newest FROM advisory_sources ORDER BY ecosystem`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []EcosystemStatus
	for rows.Next() {
		var e EcosystemStatus
		var starter int
		var synced, newest string
		if err := rows.Scan(&e.Ecosystem, &e.Mirror, &starter, &synced, &e.Records, &newest); err != nil {
			return nil, err
		}
		e.Starter, e.Synced, e.Newest = starter != 0, parseTime(synced), parseTime(newest)
		out = append(out, e)
	}
	return out, rows.Err()
}

func (a *Advisories) releases(ctx context.Context, ecosystems []EcosystemStatus) error {
	rows, err := a.ask(ctx, `SELECT ecosystem FROM advisory_coverage ORDER BY ecosystem`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		base, release, ok := strings.Cut(name, ":")
		if !ok {
			continue
		}
		for i := range ecosystems {
			if ecosystems[i].Ecosystem == base {
				ecosystems[i].Releases = append(ecosystems[i].Releases, release)
			}
		}
	}
	return rows.Err()
}

func (a *Advisories) lists(ctx context.Context) ([]ListStatus, error) {
	rows, err := a.ask(ctx, `SELECT name, location, synced_at, entries FROM advisory_lists ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ListStatus
	for rows.Next() {
		var l ListStatus
		var synced string
		if err := rows.Scan(&l.Name, &l.Location, &synced, &l.Entries); err != nil {
			return nil, err
		}
		l.Synced = parseTime(synced)
		out = append(out, l)
	}
	return out, rows.Err()
}

// timeLayout has one width, so that times sort as text on both engines.
const timeLayout = "2006-01-02T15:04:05.000000Z"

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// parseTime reads what formatTime wrote; anything else is the zero time.
func parseTime(s string) time.Time {
	t, err := time.Parse(timeLayout, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// missing tells whether an error is that of a file that isn't there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
