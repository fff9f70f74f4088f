package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"strata/internal/notify"
)

// namesInGroup bounds the names that a group lists.
const namesInGroup = 20

// groupKey is that by which violations come together.
func groupKey(g *notify.Group) string {
	if g.Vulnerability != "" {
		return "vulnerability\x1f" + g.Vulnerability + "\x1f" + g.Owner
	}
	return "rule\x1f" + g.Policy + "\x1f" + g.Rule + "\x1f" + g.Owner
}

// groupTitle is what the notification of a group is called.
func groupTitle(g *notify.Group) string {
	title := cmp.Or(g.Vulnerability, g.Policy+": "+g.Rule)
	if g.Owner != "" {
		title += " (" + g.Owner + ")"
	}
	return title
}

// routeBatch is how many violations one transaction routes.
const routeBatch = 2000

// A routedViolation is a violation of which nobody was told yet.
type routedViolation struct {
	id, watch, image int64
	group            notify.Group
	receivers        string
}

// RouteViolations makes notifications of the open violations of which nobody was told:
// for the receivers of their watch and of their rule, by the owner of the repository.
// They wait for settle, in which more of the same come to them, or for the receiver's
// digest. It gives how many violations it took. A violation is marked in the same
// transaction, so that it is told once, whatever breaks off and however many instances
// route.
func (d *DB) RouteViolations(ctx context.Context, settle time.Duration) (routed int, err error) {
	for {
		n := 0
		err := d.retryTx(ctx, func() error {
			return d.inTx(ctx, func(tx *sql.Tx) (err error) {
				n, err = d.route(ctx, tx, settle)
				return err
			})
		})
		if err != nil {
			return routed, fmt.Errorf("notifications: %w", err)
		}
		routed += n
		if n < routeBatch {
			return routed, nil
		}
	}
}

func (d *DB) route(ctx context.Context, tx *sql.Tx, settle time.Duration) (int, error) {
	// One routes at a time, so that what belongs together comes together: the row is
	// locked until the end.
	if _, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ('routing', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, []byte{1}); err != nil {
		return 0, err
	}
	// What was to be told, but is gone, as with its watch, is no message.
	if _, err := tx.ExecContext(ctx, `DELETE FROM notifications WHERE payload = '' AND state = 'due' AND NOT EXISTS
		(SELECT 1 FROM notification_violations nv WHERE nv.notification = notifications.id)`); err != nil {
		return 0, err
	}
	taken, err := d.takeViolations(ctx, tx)
	if err != nil || len(taken) == 0 {
		return 0, err
	}
	rebuilt, err := rebuiltViolations(ctx, tx, taken)
	if err != nil {
		return 0, err
	}
	names, err := violationNames(ctx, tx, taken)
	if err != nil {
		return 0, err
	}
	receivers, err := allReceivers(ctx, tx)
	if err != nil {
		return 0, err
	}
	r := &routing{db: d, tx: tx, at: d.now(), settle: settle, names: names, receivers: receivers, into: map[notificationKey]*waiting{}}
	for i := range taken {
		if rebuilt[taken[i].id] {
			continue
		}
		if err := r.add(&taken[i]); err != nil {
			return 0, err
		}
	}
	return len(taken), r.write(ctx)
}

// rebuiltViolations are those that are no news: a tag of the image named another image
// before, which had the same until then. Else a nightly build of each image would tell
// all that is wrong with it each night.
func rebuiltViolations(ctx context.Context, tx *sql.Tx, of []routedViolation) (map[int64]bool, error) {
	out := map[int64]bool{}
	for batch := range slices.Chunk(of, 500) {
		ids, err := queryIDs(ctx, tx.QueryContext, `SELECT v.id FROM violations v WHERE v.id IN (`+joinIDs(batch, func(v *routedViolation) int64 { return v.id })+`) AND EXISTS (
			SELECT 1 FROM manifest_images mi JOIN tags t ON t.manifest = mi.manifest AND t.to_at IS NULL
			JOIN tags b ON b.repository = t.repository AND b.name = t.name AND b.to_at = t.from_at JOIN manifest_images bi ON bi.manifest = b.manifest
			JOIN violations o ON o.image = bi.image AND o.watch = v.watch AND o.policy = v.policy AND o.rule = v.rule AND o.subject = v.subject AND o.id <> v.id
			WHERE mi.image = v.image AND o.notified_at IS NOT NULL AND (o.resolved_at IS NULL OR o.resolved_at >= t.from_at))`)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			out[id] = true
		}
	}
	return out, nil
}

func (d *DB) takeViolations(ctx context.Context, tx *sql.Tx) ([]routedViolation, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE violations SET notified_at = $1 WHERE notified_at IS NULL AND id IN
		(SELECT id FROM violations WHERE notified_at IS NULL AND resolved_at IS NULL ORDER BY id LIMIT $2)
		RETURNING id, watch, image, policy, rule, vulnerability, receivers`, d.now().UnixMicro(), routeBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []routedViolation
	for rows.Next() {
		var v routedViolation
		if err := rows.Scan(&v.id, &v.watch, &v.image, &v.group.Policy, &v.group.Rule, &v.group.Vulnerability, &v.receivers); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b routedViolation) int { return cmp.Compare(a.id, b.id) })
	return out, rows.Err()
}

func allReceivers(ctx context.Context, tx *sql.Tx) (map[string]*Receiver, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+receiverColumns+` FROM receivers`)
	if err != nil {
		return nil, err
	}
	list, err := receiverRows(rows)
	out := map[string]*Receiver{}
	for _, r := range list {
		out[r.Name] = r
	}
	return out, err
}

// An ownedName is a name of an image, with the owner of its repository.
type ownedName struct {
	TaggedName
	owner string
}

// scopedNames are the names of images, as far as they are in the scope of a watch: of
// others its receivers are not told.
type scopedNames struct {
	watches map[int64]*Watch
	images  map[int64][]ownedName
}

func (s *scopedNames) of(watch, image int64) []ownedName {
	var out []ownedName
	w := s.watches[watch]
	for _, n := range s.images[image] {
		if w != nil && w.Scope.Fits(&n.TaggedName) {
			out = append(out, n)
		}
	}
	return out
}

func violationNames(ctx context.Context, tx *sql.Tx, of []routedViolation) (*scopedNames, error) {
	out := &scopedNames{watches: map[int64]*Watch{}, images: map[int64][]ownedName{}}
	watches, err := watchRows(ctx, tx)
	if err != nil {
		return nil, err
	}
	for i := range watches {
		out.watches[watches[i].ID] = &watches[i]
	}
	var images []int64
	for _, v := range of {
		images = append(images, v.image)
	}
	slices.Sort(images)
	for batch := range slices.Chunk(slices.Compact(images), 500) {
		if err := out.read(ctx, tx, joinIDs(batch, func(id *int64) int64 { return *id })); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *scopedNames) read(ctx context.Context, tx *sql.Tx, images string) error {
	rows, err := tx.QueryContext(ctx, `SELECT mi.image, r.name || '/' || p.name, t.name, i.labels, COALESCE(b.reference, ''), p.owner
		FROM tags t JOIN manifest_images mi ON mi.manifest = t.manifest JOIN repositories p ON p.id = t.repository JOIN registries r ON r.id = p.registry
		JOIN images i ON i.id = mi.image LEFT JOIN images b ON b.id = i.base WHERE t.to_at IS NULL AND mi.image IN (`+images+`) ORDER BY r.name, p.name, t.name`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n ownedName
		if err := rows.Scan(&n.image, &n.repository, &n.tag, &n.labels, &n.baseName, &n.owner); err != nil {
			return err
		}
		s.images[n.image] = append(s.images[n.image], n)
	}
	return rows.Err()
}

// A notificationKey tells apart the notifications that wait.
type notificationKey struct {
	receiver         int64
	recipient, group string
}

// waiting is what comes to a notification.
type waiting struct {
	title      string
	due        time.Time
	violations [][]any
}

// A routing sorts violations into notifications.
type routing struct {
	db        *DB
	tx        *sql.Tx
	at        time.Time
	settle    time.Duration
	names     *scopedNames
	receivers map[string]*Receiver
	into      map[notificationKey]*waiting
}

func (r *routing) add(v *routedViolation) error {
	var told []string
	if v.receivers != "" {
		if err := json.Unmarshal([]byte(v.receivers), &told); err != nil {
			return fmt.Errorf("violation %d: receivers: %w", v.id, err)
		}
	}
	if w := r.names.watches[v.watch]; w != nil {
		told = append(told, w.Receivers...)
	}
	slices.Sort(told)
	var owners []string
	for _, n := range r.names.of(v.watch, v.image) {
		owners = append(owners, n.owner)
	}
	if len(owners) == 0 {
		owners = []string{""}
	}
	slices.Sort(owners)
	for _, name := range slices.Compact(told) {
		if receiver := r.receivers[name]; receiver != nil {
			for _, owner := range slices.Compact(owners) {
				if err := r.tell(v, receiver, owner); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *routing) tell(v *routedViolation, receiver *Receiver, owner string) error {
	g := v.group
	g.Owner = owner
	due, err := nextDigest(receiver.Settings.Schedule, r.at)
	if err != nil {
		return fmt.Errorf("receiver %q: %w", receiver.Name, err)
	}
	group, title := groupKey(&g), groupTitle(&g)
	if due.After(r.at) {
		group, title = digestKey, digestTitle
	} else {
		due = r.at.Add(r.settle)
	}
	for _, recipient := range receiver.recipients(owner) {
		key := notificationKey{receiver.ID, recipient, group}
		to := r.into[key]
		if to == nil {
			to = &waiting{title: title, due: due}
			r.into[key] = to
		}
		to.violations = append(to.violations, []any{v.id, owner})
	}
	return nil
}

// mostApart is how many messages people get at once by one receiver: more come as one, such as
// of a new watch over the images of years. Programs get each.
const mostApart = 5

// The keys of notifications that are of no group alone, and what they are called.
const (
	digestKey, digestTitle   = "digest", "Digest"
	severalKey, severalTitle = "several", "Several at once"
)

// together makes one notification of what would be too many for people.
func (r *routing) together() {
	people := map[int64]bool{}
	for _, receiver := range r.receivers {
		people[receiver.ID] = receiver.forPeople()
	}
	apart := map[notificationKey]int{}
	for key := range r.into {
		if key.group != digestKey && people[key.receiver] {
			apart[notificationKey{key.receiver, key.recipient, severalKey}]++
		}
	}
	for _, key := range slices.Collect(maps.Keys(r.into)) {
		several := notificationKey{key.receiver, key.recipient, severalKey}
		if key.group == digestKey || apart[several] <= mostApart {
			continue
		}
		if r.into[several] == nil {
			r.into[several] = &waiting{title: severalTitle, due: r.into[key].due}
		}
		r.into[several].violations = append(r.into[several].violations, r.into[key].violations...)
		delete(r.into, key)
	}
}

func (r *routing) write(ctx context.Context) error {
	r.together()
	for key, to := range r.into {
		id, err := r.notification(ctx, key, to)
		if err != nil {
			return err
		}
		rows := make([][]any, len(to.violations))
		for i, v := range to.violations {
			rows[i] = append([]any{id}, v...)
		}
		if err := insertRows(ctx, r.tx, "notification_violations", []string{"notification", "violation", "owner"}, " ON CONFLICT DO NOTHING", rows); err != nil {
			return err
		}
	}
	return nil
}

// notification is one that waits and was not put into words yet, or else a new one. The
// update locks it, so that no other instance sends it meanwhile.
func (r *routing) notification(ctx context.Context, key notificationKey, to *waiting) (id int64, err error) {
	err = r.tx.QueryRowContext(ctx, `UPDATE notifications SET receiver = receiver WHERE id = (SELECT MIN(id) FROM notifications
		WHERE receiver = $1 AND recipient = $2 AND group_key = $3 AND payload = '' AND state = 'due') AND payload = '' AND state = 'due' RETURNING id`,
		key.receiver, key.recipient, key.group).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	err = r.tx.QueryRowContext(ctx, `INSERT INTO notifications (delivery, receiver, recipient, group_key, subject, payload, state, due_at, created_at)
		VALUES ($1, $2, $3, $4, $5, '', 'due', $6, $7) RETURNING id`,
		NewDelivery(), key.receiver, key.recipient, key.group, to.title, to.due.UnixMicro(), r.at.UnixMicro()).Scan(&id)
	return id, err
}

// NewDelivery is the id of a delivery, a random UUID (RFC 9562, version 4).
func NewDelivery() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
