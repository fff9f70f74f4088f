package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"strata/internal/advisory"
)

// prepareAhead is how many ecosystems are fetched while others are taken in.
const prepareAhead = 3

// UpdateOptions of UpdateAdvisories. The zero value is useful.
type UpdateOptions struct {
	// Ecosystems to bring up to date, without suffix, in any case; empty for
	// those that the database has, and for advisory.Matchable when it has none.
	// "all" stands for everything the mirror has.
	Ecosystems []string
	// KEV and EPSS are the URLs or paths of the lists; empty for none.
	KEV, EPSS string
	// Lists are the options for opening those.
	Lists advisory.MirrorOptions
	// Now is written as the time of the update; time.Now by default.
	Now func() time.Time
	// Log gets what is worth telling and no error; nil is silent.
	Log *slog.Logger
	// Progress is called as work goes on, from one goroutine at a time; may be nil.
	Progress func(Progress)

	// seen is which news a server has matched; nil for the command line, which keeps none.
	seen *newsMark
}

// Progress tells how far one ecosystem is.
type Progress struct {
	Ecosystem string
	// Done of Total records that changed.
	Done, Total int
}

// UpdateSummary tells what an update did.
type UpdateSummary struct {
	Ecosystems []EcosystemUpdate
	Lists      []ListUpdate
	// Changed are the names of the packages of which advisories say something else
	// than before, or say it of another vulnerability, or of one rated otherwise,
	// sorted; from SyncAdvisories only.
	Changed []advisory.Key
}

// Err joins the errors of all ecosystems and lists that could not be updated;
// their old data are kept.
func (s UpdateSummary) Err() error {
	var errs []error
	for _, e := range s.Ecosystems {
		if e.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.Ecosystem, e.Err))
		}
	}
	for _, l := range s.Lists {
		if l.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.ToUpper(l.Name), l.Err))
		}
	}
	return errors.Join(errs...)
}

// EcosystemUpdate tells what an update did with one ecosystem.
type EcosystemUpdate struct {
	Ecosystem string
	// Records of the feed now, withdrawn ones not counted.
	Records int
	// Changed are new records and new states of old ones; Removed those that
	// left the feed or were withdrawn.
	Changed, Removed int
	// Unreadable are records that are listed but could not be had or read; the
	// next update tries again. The first few errors only.
	Unreadable      []string
	UnreadableCount int
	// Err says why the ecosystem could not be updated: nothing of it changed.
	Err error
}

// ListUpdate tells what an update did with KEV or EPSS.
type ListUpdate struct {
	Name     string
	Location string
	Entries  int
	Err      error
}

// UpdateAdvisories brings the database at path up to date with a mirror, and
// makes it when there is none. Records are fetched when their id or time of
// modification is not the one stored; those that left the mirror's lists are
// dropped. The file is replaced at the end and whole: until then, and when the
// update is interrupted, readers see the old state. A second update waits for
// the first.
//
// An ecosystem or list that can't be had keeps its old data and is named in the
// summary (see Err). The error is for when nothing could be updated.
func UpdateAdvisories(ctx context.Context, path string, mirror *advisory.Mirror, o UpdateOptions) (UpdateSummary, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	summary, err := updateAdvisories(ctx, path, mirror, true, o)
	if damaged(err) {
		o.Log.Warn("the advisory database is damaged, making it anew", "path", path, "error", err)
		summary, err = updateAdvisories(ctx, path, mirror, false, o)
	}
	if err != nil {
		return summary, fmt.Errorf("update of advisory database %s: %w", path, err)
	}
	return summary, nil
}

func updateAdvisories(ctx context.Context, path string, mirror *advisory.Mirror, keep bool, o UpdateOptions) (UpdateSummary, error) {
	d, err := openDraft(ctx, path, keep, o.Log)
	if err != nil {
		return UpdateSummary{}, err
	}
	u := &update{mirror: mirror, o: o, now: o.Now()}
	if err := inTx(ctx, d.db, func(tx *sql.Tx) error { return u.whole(ctx, tx) }); err != nil {
		return u.summary, errors.Join(err, d.discard())
	}
	return u.summary, d.publish()
}

// whole is an update with all that belongs to it, in one transaction. What is fetched is
// taken in as it comes.
func (u *update) whole(ctx context.Context, tx *sql.Tx) error {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	plans, err := u.look(work, tx.QueryContext)
	if err != nil {
		return err
	}
	return u.take(ctx, cancel, tx, plans)
}

// take takes in what was fetched, with an error when nothing could be updated. cancel ends
// what still makes plans.
func (u *update) take(ctx context.Context, cancel func(), tx *sql.Tx, plans <-chan *plan) error {
	u.tx = tx
	if u.o.seen != nil {
		u.news = map[advisory.Key]bool{}
	}
	if err := u.run(ctx, cancel, plans); err != nil {
		return err
	}
	if !u.progressed() {
		return errors.Join(errNothingUpdated, u.summary.Err())
	}
	return u.keepNews(ctx)
}

// errNothingUpdated is when no ecosystem and no list could be had.
var errNothingUpdated = errors.New("nothing could be updated, the old data are kept")

// An update is one run of UpdateAdvisories over a draft, or of SyncAdvisories over the
// tables of a server: look finds what is to be done, take does it in one transaction.
type update struct {
	tx      *sql.Tx
	mirror  *advisory.Mirror
	o       UpdateOptions
	now     time.Time
	summary UpdateSummary
	// stored are the ids of all records in force with their modification.
	stored map[string]string
	// written are the records this run wrote, with their modification: a record
	// named in several ecosystems is taken once, in its newest state.
	written map[string]time.Time
	// dirty tells that records changed, so that what is computed of them must be
	// computed anew.
	dirty bool
	// news are the names of packages for UpdateSummary.Changed; nil when nobody asks.
	news map[advisory.Key]bool
	// lists are those of KEV and EPSS that were fetched before the transaction, by location.
	lists map[string]fetchedList
	// exploited are what came to, or left, the list of exploited vulnerabilities.
	exploited []string
}

// look compares what is stored with the mirror, and has fetched what changed. Every plan
// must be taken.
func (u *update) look(ctx context.Context, ask queryFunc) (<-chan *plan, error) {
	ecosystems, err := u.choose(ctx, ask)
	if err != nil {
		return nil, err
	}
	if u.stored, err = queryPairs(ctx, ask, `SELECT id, modified FROM advisories`); err != nil {
		return nil, err
	}
	feeds := map[string]map[string]string{}
	for _, e := range ecosystems {
		if feeds[e], err = loadFeed(ctx, ask, e); err != nil {
			return nil, err
		}
	}
	return u.prepare(ctx, ecosystems, feeds), nil
}

func (u *update) run(ctx context.Context, cancel func(), plans <-chan *plan) error {
	u.written = map[string]time.Time{}
	for p := range plans {
		if err := u.apply(ctx, p); err != nil {
			cancel()
			return errors.Join(err, closeAll(plans))
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.dropStarter(ctx); err != nil {
		return err
	}
	u.updateLists(ctx)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.derive(ctx); err != nil {
		return err
	}
	return u.tellOfVulnerabilities(ctx, u.exploited)
}

// closeAll takes the plans that are no longer wanted.
func closeAll(plans <-chan *plan) error {
	var errs []error
	for p := range plans {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// progressed tells whether anything was brought up to date.
func (u *update) progressed() bool {
	return slices.ContainsFunc(u.summary.Ecosystems, func(e EcosystemUpdate) bool { return e.Err == nil }) ||
		slices.ContainsFunc(u.summary.Lists, func(l ListUpdate) bool { return l.Err == nil })
}

// choose names the ecosystems to update, sorted.
func (u *update) choose(ctx context.Context, ask queryFunc) ([]string, error) {
	have, err := synced(ctx, ask)
	if err != nil {
		return nil, err
	}
	if u.mirror.Starter() && len(have) > 0 {
		return nil, errors.New("the starter set would replace real advisories")
	}
	offered, err := u.mirror.Ecosystems(ctx)
	if missing(err) && len(u.o.Ecosystems) > 0 && !slices.Contains(u.o.Ecosystems, "all") {
		// Some copies hold only what was asked for, and no list.
		offered, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case slices.Contains(u.o.Ecosystems, "all"), u.mirror.Starter():
		slices.Sort(offered)
		return slices.Compact(offered), nil
	case len(u.o.Ecosystems) > 0:
		return u.wanted(offered), nil
	}
	if len(have) > 0 {
		return u.wantedOf(have, offered), nil
	}
	return slices.DeleteFunc(advisory.Matchable(), func(e string) bool { return !slices.Contains(offered, e) }), nil
}

// wanted resolves the names that were asked for; those the mirror doesn't have
// go to the summary as errors.
func (u *update) wanted(offered []string) []string {
	var out []string
	for _, w := range u.o.Ecosystems {
		w = advisory.Base(strings.TrimSpace(w))
		if offered == nil {
			out = append(out, w)
			continue
		}
		i := slices.IndexFunc(offered, func(e string) bool { return strings.EqualFold(e, w) })
		if i < 0 {
			u.fail(w, fmt.Errorf("the mirror has no such ecosystem; it has %s", strings.Join(offered, ", ")))
			continue
		}
		out = append(out, offered[i])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wantedOf are the ecosystems that the database has; one that the mirror no
// longer offers is an error, since its data are then of an unknown age.
func (u *update) wantedOf(have, offered []string) []string {
	var out []string
	for _, e := range have {
		if slices.Contains(offered, e) {
			out = append(out, e)
			continue
		}
		u.fail(e, errors.New("the mirror has no such ecosystem, the old data are kept"))
	}
	return out
}

func (u *update) fail(ecosystem string, err error) {
	u.summary.Ecosystems = append(u.summary.Ecosystems, EcosystemUpdate{Ecosystem: ecosystem, Err: err})
}

// synced are the ecosystems that were ever taken from a real mirror, sorted.
func synced(ctx context.Context, ask queryFunc) ([]string, error) {
	return queryStrings(ctx, ask, `SELECT ecosystem FROM advisory_sources WHERE starter = 0 ORDER BY ecosystem`)
}

// A queryFunc asks a database, or a transaction.
type queryFunc func(ctx context.Context, query string, args ...any) (*sql.Rows, error)

func queryStrings(ctx context.Context, ask queryFunc, query string, args ...any) ([]string, error) {
	rows, err := ask(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// loadFeed gives the feed's rows at the last update. Those of the starter set
// have no times: whatever the mirror has replaces them.
func loadFeed(ctx context.Context, ask queryFunc, ecosystem string) (map[string]string, error) {
	return queryPairs(ctx, ask, `SELECT f.advisory, CASE WHEN s.starter = 1 THEN '' ELSE f.modified END
		FROM advisory_feed f LEFT JOIN advisory_sources s ON s.ecosystem = f.ecosystem WHERE f.ecosystem = $1`, ecosystem)
}

func queryPairs(ctx context.Context, ask queryFunc, query string, args ...any) (map[string]string, error) {
	rows, err := ask(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}

// inTx runs do in a transaction, which is committed when do returns no error.
func inTx(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		// After a cancelled context the driver has rolled back already.
		if rbErr := tx.Rollback(); rbErr != nil && !errors.Is(rbErr, sql.ErrTxDone) {
			err = errors.Join(err, rbErr)
		}
		return err
	}
	return tx.Commit()
}

// part does a part of the update that may fail alone: then nothing of it is kept, and
// the rest is.
func (u *update) part(ctx context.Context, do func(*sql.Tx) error) error {
	if _, err := u.tx.ExecContext(ctx, `SAVEPOINT part`); err != nil {
		return err
	}
	if err := do(u.tx); err != nil {
		// After a cancelled context the whole has been rolled back already.
		if _, rbErr := u.tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT part`); rbErr != nil && ctx.Err() == nil && !errors.Is(rbErr, sql.ErrTxDone) {
			err = errors.Join(err, rbErr)
		}
		return err
	}
	_, err := u.tx.ExecContext(ctx, `RELEASE SAVEPOINT part`)
	return err
}
