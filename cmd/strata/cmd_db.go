package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"strata/internal/advisory"
	"strata/internal/report"
	"strata/internal/store"
)

// advisoriesFile is the advisory database in the cache folder.
const advisoriesFile = "advisories.db"

// advisoriesPath is where the advisory database lies.
func (a *app) advisoriesPath() (string, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, advisoriesFile), nil
}

func newDBCommand(a *app) *cobra.Command {
	db := &cobra.Command{
		Use:   "db",
		Short: "Update, look at, export and import the advisory database",
		Long: `The advisory database is one file in the cache folder. An update replaces it in
one go, so scans that run meanwhile are not disturbed, and an interrupted update
leaves the old one whole.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	db.AddCommand(newDBUpdateCommand(a), newDBStatusCommand(a), newDBExportCommand(a), newDBImportCommand(a))
	return db
}

// mirrorFlags say where advisories come from.
type mirrorFlags struct {
	mirror, kev, epss string
	ecosystems        []string
}

func (f *mirrorFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.mirror, "mirror", "", "`URL` or folder with the layout of OSV's bulk export (default OSV's own)")
	cmd.Flags().StringSliceVar(&f.ecosystems, "ecosystem", nil, "`NAME` such as npm or Debian, several by commas or flags, or all for all that the mirror has (default those the database has, else all that images hold)")
	cmd.Flags().StringVar(&f.kev, "kev", "", "`URL` or file of CISA's list of exploited vulnerabilities, or none (default CISA's own with the default mirror)")
	cmd.Flags().StringVar(&f.epss, "epss", "", "`URL` or file of FIRST's EPSS scores (.csv or .csv.gz), or none (default FIRST's own with the default mirror)")
}

// location is where advisories come from.
func (f *mirrorFlags) location() string { return cmp.Or(f.mirror, advisory.DefaultMirror) }

// updateAdvisories brings the database up to date. What could not be updated is
// in the summary.
func (a *app) updateAdvisories(ctx context.Context, f mirrorFlags, progress func(store.Progress)) (store.UpdateSummary, error) {
	path, err := a.advisoriesPath()
	if err != nil {
		return store.UpdateSummary{}, err
	}
	// Archives are large: they go where the database goes, not to a small /tmp.
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return store.UpdateSummary{}, err
	}
	lists := advisory.MirrorOptions{Log: a.log, TempDir: dir}
	mirror, err := advisory.OpenMirror(f.location(), lists)
	if err != nil {
		return store.UpdateSummary{}, err
	}
	return store.UpdateAdvisories(ctx, path, mirror, store.UpdateOptions{
		Ecosystems: f.ecosystems,
		KEV:        listLocation(f.kev, advisory.DefaultKEV, mirror.Public()),
		EPSS:       listLocation(f.epss, advisory.DefaultEPSS, mirror.Public()),
		Lists:      lists, Now: a.now, Log: a.log, Progress: progress,
	})
}

// listLocation is where a list comes from. With a mirror of one's own the public
// one is not asked: the machine may be meant not to.
func listLocation(flag, public string, isPublic bool) string {
	switch {
	case flag == "none" || flag == "" && !isPublic:
		return ""
	case flag == "":
		return public
	}
	return flag
}

func newDBUpdateCommand(a *app) *cobra.Command {
	var f mirrorFlags
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Fetch new and changed advisories",
		Example: `  strata db update
  strata db update --ecosystem Debian,Alpine,npm
  strata db update --mirror /srv/osv --kev /srv/kev.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			summary, err := a.updateAdvisories(cmd.Context(), f, a.updateProgress())
			if err != nil {
				return err
			}
			if !a.quiet {
				if err := writeUpdate(a.stdout, summary); err != nil {
					return err
				}
			}
			if err := summary.Err(); err != nil {
				return fmt.Errorf("not all could be updated, the old data of these are kept:\n%w", err)
			}
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// updateProgress tells how far the update is: on a terminal in one line that is
// written over, else in a line for each ecosystem.
func (a *app) updateProgress() func(store.Progress) {
	terminal := isTerminal(a.stderr)
	var last time.Time
	return func(p store.Progress) {
		name := report.Safe(p.Ecosystem)
		switch now := a.now(); {
		case a.quiet:
		case !terminal && p.Done == p.Total && p.Total > 0:
			a.say("advisories of %s: %d taken in", name, p.Total)
		case terminal && p.Done == p.Total:
			fmt.Fprint(a.stderr, "\r\x1b[K")
		case terminal && now.Sub(last) >= progressEvery:
			last = now
			fmt.Fprintf(a.stderr, "\r\x1b[Kadvisories of %s: %d of %d", name, p.Done, p.Total)
		}
	}
}

// progressEvery is how often a line of progress is written anew.
const progressEvery = 100 * time.Millisecond

func writeUpdate(w io.Writer, s store.UpdateSummary) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ECOSYSTEM\tADVISORIES\tCHANGED\tREMOVED\tNOTE")
	for _, e := range s.Ecosystems {
		if e.Err != nil {
			fmt.Fprintf(t, "%s\t\t\t\tnot updated\n", report.Safe(e.Ecosystem))
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\n", report.Safe(e.Ecosystem), e.Records, e.Changed, e.Removed, report.Safe(unreadableNote(e)))
	}
	for _, l := range s.Lists {
		if l.Err != nil {
			fmt.Fprintf(t, "%s\t\t\t\tnot updated\n", strings.ToUpper(l.Name))
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t\t\t\n", strings.ToUpper(l.Name), l.Entries)
	}
	return t.Flush()
}

func unreadableNote(e store.EcosystemUpdate) string {
	if e.UnreadableCount == 0 {
		return ""
	}
	return fmt.Sprintf("%d could not be read: %s", e.UnreadableCount, e.Unreadable[0])
}

func newDBStatusCommand(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell what the advisory database holds and how old it is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return fmt.Errorf("--format %q: want table or json", format)
			}
			db, err := a.openAdvisories()
			if err != nil {
				return err
			}
			defer db.Close()
			s, err := db.Status(cmd.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				return writeStatusJSON(a.stdout, s, a.now())
			}
			return writeStatus(a.stdout, s, a.now())
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "table", "table or json")
	return cmd
}

// openAdvisories opens the database, or says how to get one.
func (a *app) openAdvisories() (*store.Advisories, error) {
	path, err := a.advisoriesPath()
	if err != nil {
		return nil, err
	}
	db, err := store.OpenAdvisories(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no advisory database at %s yet: run `strata db update`, or `strata db import FILE`", path)
	}
	return db, err
}

func writeStatus(w io.Writer, s store.AdvisoryStatus, now time.Time) error {
	fmt.Fprintf(w, "%s\nadvisories: %d, vulnerabilities: %d", s.Path, s.Records, s.Vulnerabilities)
	if s.Starter {
		fmt.Fprint(w, ": only the starter set; run `strata db update` for all")
	}
	fmt.Fprint(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ECOSYSTEM\tADVISORIES\tUPDATED\tNEWEST\tRELEASES")
	for _, e := range s.Ecosystems {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", report.Safe(e.Ecosystem), e.Records, ago(now, e.Synced), day(e.Newest), report.Safe(newestReleases(e.Releases)))
	}
	for _, l := range s.Lists {
		fmt.Fprintf(t, "%s\t%d\t%s\t\t\n", strings.ToUpper(l.Name), l.Entries, ago(now, l.Synced))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeOrigins(w, s)
}

// writeOrigins tells where the advisories are from: one mirror, as a rule.
func writeOrigins(w io.Writer, s store.AdvisoryStatus) error {
	var mirrors []string
	of := map[string][]string{}
	for _, e := range s.Ecosystems {
		if of[e.Mirror] == nil {
			mirrors = append(mirrors, e.Mirror)
		}
		of[e.Mirror] = append(of[e.Mirror], e.Ecosystem)
	}
	fmt.Fprintln(w)
	for _, m := range mirrors {
		what := "Advisories"
		if len(mirrors) > 1 {
			what = strings.Join(of[m], ", ")
		}
		fmt.Fprintf(w, "%s: %s\n", report.Safe(what), report.Safe(m))
	}
	for _, l := range s.Lists {
		fmt.Fprintf(w, "%s: %s\n", strings.ToUpper(l.Name), report.Safe(l.Location))
	}
	return nil
}

// newestReleases are the first few of a distribution's releases, the newest in front.
func newestReleases(releases []string) string {
	const few = 3
	sorted := slices.Clone(releases)
	slices.SortFunc(sorted, func(a, b string) int { return slices.Compare(numbers(b), numbers(a)) })
	if len(sorted) <= few+1 {
		return strings.Join(sorted, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(sorted[:few], ", "), len(sorted)-few)
}

// numbers are those in a release's name: 3 and 19 of v3.19.
func numbers(release string) []int {
	var out []int
	for _, digits := range strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(digits) // digits they are; too many of them sort anywhere
		out = append(out, n)
	}
	return out
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// ago is the time since t, in its largest unit.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

// statusJSON is the form of `strata db status -f json`: names and meaning stay.
type statusJSON struct {
	SchemaVersion   string                `json:"schema_version"`
	Path            string                `json:"path"`
	Advisories      int                   `json:"advisories"`
	Vulnerabilities int                   `json:"vulnerabilities"`
	Starter         bool                  `json:"starter"`
	Oldest          time.Time             `json:"oldest_update"`
	AgeSeconds      int64                 `json:"age_seconds"`
	Ecosystems      []ecosystemStatusJSON `json:"ecosystems"`
	Lists           []listStatusJSON      `json:"lists"`
}

type ecosystemStatusJSON struct {
	Ecosystem  string    `json:"ecosystem"`
	Advisories int       `json:"advisories"`
	Updated    time.Time `json:"updated"`
	AgeSeconds int64     `json:"age_seconds"`
	Newest     time.Time `json:"newest"`
	Releases   []string  `json:"releases"`
	Mirror     string    `json:"mirror"`
	Starter    bool      `json:"starter"`
}

type listStatusJSON struct {
	Name     string    `json:"name"`
	Entries  int       `json:"entries"`
	Updated  time.Time `json:"updated"`
	Location string    `json:"location"`
}

func writeStatusJSON(w io.Writer, s store.AdvisoryStatus, now time.Time) error {
	out := statusJSON{
		SchemaVersion: "1", Path: s.Path, Advisories: s.Records, Vulnerabilities: s.Vulnerabilities, Starter: s.Starter,
		Oldest: s.Oldest, AgeSeconds: ageSeconds(now, s.Oldest), Ecosystems: []ecosystemStatusJSON{}, Lists: []listStatusJSON{},
	}
	for _, e := range s.Ecosystems {
		out.Ecosystems = append(out.Ecosystems, ecosystemStatusJSON{
			Ecosystem: e.Ecosystem, Advisories: e.Records, Updated: e.Synced, AgeSeconds: ageSeconds(now, e.Synced),
			Newest: e.Newest, Releases: append([]string{}, e.Releases...), Mirror: e.Mirror, Starter: e.Starter,
		})
	}
	for _, l := range s.Lists {
		out.Lists = append(out.Lists, listStatusJSON{Name: l.Name, Entries: l.Entries, Updated: l.Synced, Location: l.Location})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func ageSeconds(now, t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return int64(max(0, now.Sub(t)) / time.Second)
}

func newDBExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "export FILE",
		Short:   "Write the advisory database to one file, for a machine without network",
		Example: "  strata db export advisories.strata\n  strata db export - | ssh host strata db import -",
		Args:    oneArgument("file, or - for standard output,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := a.openAdvisories()
			if err != nil {
				return err
			}
			defer db.Close()
			if args[0] == "-" {
				return db.Export(cmd.Context(), a.stdout)
			}
			return exportFile(cmd.Context(), db, args[0])
		},
	}
}

// exportFile writes beside the file and renames, so that what is there under the
// name is always whole. What is no file, such as a device, is not replaced.
func exportFile(ctx context.Context, db *store.Advisories, path string) error {
	if there, err := os.Stat(path); err == nil && !there.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(db.Export(ctx, f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	err = db.Export(ctx, f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func newDBImportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Replace the advisory database by an exported one",
		Args:  oneArgument("file, or - for standard input,"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := a.advisoriesPath()
			if err != nil {
				return err
			}
			in := a.stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			s, err := store.ImportAdvisories(cmd.Context(), path, in, a.log)
			if err != nil {
				return err
			}
			if a.quiet {
				return nil
			}
			_, err = fmt.Fprintf(a.stdout, "%d advisories of %d ecosystems, the oldest updated %s\n", s.Records, len(s.Ecosystems), ago(a.now(), s.Oldest))
			return err
		},
	}
}
