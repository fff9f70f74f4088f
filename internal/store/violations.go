package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Judging is one image that a watch has to judge. Who has it writes the result under
// its Fence: it counts only if nobody has asked for another since.
type Judging struct {
	Watch, Image int64
	Fence        int64
}

// judgingFor is how long a judging stays with an instance before another may take it. It
// is not prolonged: one instance judges at a time, and one that is late is only told so.
const judgingFor = SilentAfter

// TakeJudgings gives judgings that are due, of at most so many images; those of one
// image together.
func (d *DB) TakeJudgings(ctx context.Context, images int) ([]Judging, error) {
	now := d.now()
	until := now.Add(judgingFor).UnixMicro()
	rows, err := d.db.QueryContext(ctx, `UPDATE watched_images SET due_at = $1 WHERE due_at <= $2 AND image IN (
			SELECT image FROM watched_images WHERE due_at <= $2 GROUP BY image ORDER BY MIN(due_at), image LIMIT `+strconv.Itoa(images)+`) RETURNING watch, image`, until, now.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("judgings: %w", err)
	}
	defer rows.Close()
	var out []Judging
	for rows.Next() {
		j := Judging{Fence: until}
		if err := rows.Scan(&j.Watch, &j.Image); err != nil {
			return nil, fmt.Errorf("judgings: %w", err)
		}
		out = append(out, j)
	}
	return out, rows.Err()
}

// A Violation is an objection of a rule of a watch to an image. One to several packages
// is as many violations, so that each has a time of its own.
type Violation struct {
	ID     int64  `json:"id"`
	Watch  string `json:"watch"`
	Image  int64  `json:"image"`
	Policy string `json:"policy"`
	Rule   string `json:"rule"`
	// Decision is what the rule makes of the image: warn or fail.
	Decision string `json:"decision"`
	// Vulnerability and Package ("npm/lodash") that it is about; either may be empty.
	Vulnerability string `json:"vulnerability,omitempty"`
	Package       string `json:"package,omitempty"`
	// Severity is the rank of the finding.
	Severity int    `json:"severity"`
	Message  string `json:"message"`
	// Receivers that the rule names.
	Receivers  []string  `json:"receivers,omitempty"`
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// Reference of the image, for people.
	Reference string `json:"reference"`
}

// subject is what it objects to, by which it is known again: versions come and go.
func (v *Violation) subject() []byte {
	text := v.Vulnerability + "\x00" + v.Package
	if text == "\x00" {
		text += v.Message
	}
	sum := sha256.Sum256([]byte(text))
	return sum[:16]
}

// PutJudgment writes what a watch objects to in an image, in the place of what it did:
// new violations are opened, those that are no more are resolved. next is when the
// image is due again on its own; zero for never. kept is false, and nothing is written,
// when the image has become due again meanwhile.
func (d *DB) PutJudgment(ctx context.Context, j Judging, decision string, next time.Time, violations []Violation) (kept bool, err error) {
	err = d.retryTx(ctx, func() error {
		return d.inTx(ctx, func(tx *sql.Tx) error {
			kept, err = d.putJudgment(ctx, tx, j, decision, next, violations)
			return err
		})
	})
	if err != nil {
		return false, fmt.Errorf("judgment of image %d: %w", j.Image, err)
	}
	return kept, nil
}

func (d *DB) putJudgment(ctx context.Context, tx *sql.Tx, j Judging, decision string, next time.Time, violations []Violation) (bool, error) {
	now := d.now().UnixMicro()
	err := changed(tx.ExecContext(ctx, `UPDATE watched_images SET decision = $1, judged_at = $2, due_at = $3 WHERE watch = $4 AND image = $5 AND due_at = $6`,
		decision, now, micros(next), j.Watch, j.Image, j.Fence))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var rows [][]any
	seen := map[string]bool{}
	for i := range violations {
		v := &violations[i]
		subject := v.subject()
		key := v.Policy + "\x00" + v.Rule + "\x00" + string(subject)
		if seen[key] {
			continue
		}
		seen[key] = true
		receivers, err := json.Marshal(notNil(v.Receivers))
		if err != nil {
			return false, err
		}
		rows = append(rows, []any{j.Watch, j.Image, v.Policy, v.Rule, subject, v.Decision, v.Vulnerability, v.Package, v.Severity, v.Message, string(receivers), now, now})
	}
	if err := insertRows(ctx, tx, "violations", []string{"watch", "image", "policy", "rule", "subject", "decision", "vulnerability", "package", "severity", "message", "receivers", "first_seen_at", "last_seen_at"},
		` ON CONFLICT (watch, image, policy, rule, subject) WHERE resolved_at IS NULL DO UPDATE SET decision = excluded.decision, severity = excluded.severity, message = excluded.message,
			receivers = excluded.receivers, last_seen_at = excluded.last_seen_at`, rows); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE violations SET resolved_at = $1 WHERE watch = $2 AND image = $3 AND resolved_at IS NULL AND last_seen_at <> $1`, now, j.Watch, j.Image)
	return true, err
}

// NextJudging is when the next judging is due; zero for none.
func (d *DB) NextJudging(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	if err := d.db.QueryRowContext(ctx, `SELECT MIN(due_at) FROM watched_images`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("judgings: %w", err)
	}
	return fromMicros(at), nil
}

// A ViolationQuery asks for violations. The zero value asks for the open ones.
type ViolationQuery struct {
	Watch, Policy, Vulnerability string
	Image                        int64
	// Resolved asks for those resolved instead.
	Resolved bool
	Scope    []string
	// After is the id of the last one of the page before; 0 for the first page.
	After int64
	Limit int
}

// Violations lists violations, the newest first; one more than the limit when there are
// more.
func (d *DB) Violations(ctx context.Context, q ViolationQuery) ([]Violation, error) {
	out, err := d.violations(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("violations: %w", err)
	}
	return out, nil
}

func (d *DB) violations(ctx context.Context, q ViolationQuery) ([]Violation, error) {
	w := &where{}
	w.add(map[bool]string{false: `v.resolved_at IS NULL`, true: `v.resolved_at IS NOT NULL`}[q.Resolved])
	if q.Scope != nil {
		if ok, err := d.watchedInScope(ctx, w, q.Scope); err != nil || !ok {
			return nil, err
		}
	}
	for column, value := range map[string]string{"wa.name": q.Watch, "v.policy": q.Policy} {
		if value != "" {
			w.add(column+` = ?`, value)
		}
	}
	if q.Vulnerability != "" {
		w.add(`UPPER(v.vulnerability) = ?`, strings.ToUpper(q.Vulnerability))
	}
	if q.Image != 0 {
		w.add(`v.image = ?`, q.Image)
	}
	if q.After != 0 {
		w.add(`v.id < ?`, q.After)
	}
	rows, err := d.db.QueryContext(ctx, `SELECT v.id, wa.name, v.image, v.policy, v.rule, v.decision, v.vulnerability, v.package, v.severity, v.message, v.receivers,
			v.first_seen_at, v.last_seen_at, v.resolved_at
		FROM violations v JOIN watches wa ON wa.id = v.watch WHERE `+w.String()+` ORDER BY v.id DESC LIMIT `+strconv.Itoa(q.Limit+1), w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Violation
	for rows.Next() {
		var v Violation
		var receivers string
		var first, last, resolved sql.NullInt64
		if err := rows.Scan(&v.ID, &v.Watch, &v.Image, &v.Policy, &v.Rule, &v.Decision, &v.Vulnerability, &v.Package, &v.Severity, &v.Message, &receivers, &first, &last, &resolved); err != nil {
			return nil, err
		}
		if receivers != "" {
			if err := json.Unmarshal([]byte(receivers), &v.Receivers); err != nil {
				return nil, err
			}
		}
		v.FirstSeen, v.LastSeen, v.ResolvedAt = fromMicros(first), fromMicros(last), fromMicros(resolved)
		out = append(out, v)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	return out, d.nameViolations(ctx, out, q.Scope)
}

// MaxOpen is how many open violations of a watch are counted at most.
const MaxOpen = 10_000

// OpenViolations counts the open violations of each watch by its id, up to MaxOpen.
func (d *DB) OpenViolations(ctx context.Context) (map[int64]int, error) {
	out := map[int64]int{}
	err := d.each(ctx, `SELECT id, (SELECT COUNT(*) FROM (SELECT 1 FROM violations v WHERE v.watch = watches.id AND v.resolved_at IS NULL LIMIT `+strconv.Itoa(MaxOpen)+`) AS o) FROM watches`, nil, func(scan func(...any) error) error {
		var watch int64
		var n int
		err := scan(&watch, &n)
		out[watch] = n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open violations: %w", err)
	}
	return out, nil
}

// watchedInScope restricts violations v to those that watches have of an image by a
// repository in scope: what another watch objects to in the same image, by the name of
// another repository, is not told. ok is false when there can be none.
func (d *DB) watchedInScope(ctx context.Context, w *where, scope []string) (ok bool, err error) {
	watches, err := d.Watches(ctx)
	if err != nil {
		return false, err
	}
	// Those with the same repositories are asked for together.
	byRepositories := map[string][]int64{}
	for i := range watches {
		in, err := d.scopeRepositories(ctx, scope, watches[i].Scope.Repositories)
		if err != nil {
			return false, err
		}
		if in != "" {
			byRepositories[in] = append(byRepositories[in], watches[i].ID)
		}
	}
	var either []string
	for in, ids := range byRepositories {
		either = append(either, `v.watch IN (`+inList(ids)+`) AND `+inRepositories("v.image", in))
	}
	w.add(`(` + strings.Join(either, " OR ") + `)`)
	return len(either) > 0, nil
}

// nameViolations names the images of violations, and puts names out of them that are not in
// scope.
func (d *DB) nameViolations(ctx context.Context, violations []Violation, scope []string) error {
	ids := map[int64]bool{}
	for i := range violations {
		ids[violations[i].Image] = true
	}
	names, err := d.namesOf(ctx, sortedIDs(ids), scope)
	if err != nil {
		return err
	}
	var others map[int64][]string
	if scope != nil {
		if others, err = d.othersNames(ctx, sortedIDs(ids), scope); err != nil {
			return err
		}
	}
	for i := range violations {
		v := &violations[i]
		v.Reference, v.Message = names[v.Image], hideNames(v.Message, others[v.Image])
	}
	return nil
}
