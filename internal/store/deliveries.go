package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"strata/internal/advisory"
	"strata/internal/notify"
)

// A Notification is one message to one receiver.
type Notification struct {
	ID int64
	// Delivery is the id that the receiver knows it by, the same for each attempt.
	Delivery     string
	Receiver     int64
	ReceiverName string
	// Recipient is the mail address that it goes to; empty where it goes by no mail.
	Recipient, Subject string
	// Payload is a JSON list of notify.Group; empty until the first attempt.
	Payload string
	// State is "due", "sending", "sent" or "failed".
	State    string
	Attempts int
	// Fence goes with what is recorded.
	Fence       int64
	DueAt       time.Time
	CreatedAt   time.Time
	DeliveredAt time.Time
	Error       string
}

const notificationColumns = `id, delivery, receiver, (SELECT name FROM receivers WHERE receivers.id = notifications.receiver), recipient, subject, payload, state, attempts, fence, due_at, created_at, delivered_at, error`

func notificationRows(rows *sql.Rows) ([]Notification, error) {
	defer rows.Close()
	var out []Notification
	for rows.Next() {
		var n Notification
		var due, created, delivered sql.NullInt64
		if err := rows.Scan(&n.ID, &n.Delivery, &n.Receiver, &n.ReceiverName, &n.Recipient, &n.Subject, &n.Payload, &n.State, &n.Attempts, &n.Fence, &due, &created, &delivered, &n.Error); err != nil {
			return nil, err
		}
		n.DueAt, n.CreatedAt, n.DeliveredAt = fromMicros(due), fromMicros(created), fromMicros(delivered)
		out = append(out, n)
	}
	return out, rows.Err()
}

// ClaimNotifications gives notifications that are due to an instance that sends them, for a
// time: then others may, as when it died (ExpireClaims). Of a receiver that is being sent something it gives none,
// so that one that is slow is waited for once. At the first attempt they are put into words,
// which stay.
func (d *DB) ClaimNotifications(ctx context.Context, by string, limit int, ttl time.Duration) (out []Notification, err error) {
	err = d.retryTx(ctx, func() error {
		return d.inTx(ctx, func(tx *sql.Tx) error {
			now := d.now()
			rows, err := tx.QueryContext(ctx, `UPDATE notifications SET state = 'sending', fence = fence + 1, attempts = attempts + 1, due_at = $1, claimed_by = $4
				WHERE state IN ('due', 'sending') AND due_at <= $2 AND id IN (SELECT n.id FROM notifications n JOIN receivers r ON r.id = n.receiver
				WHERE n.state IN ('due', 'sending') AND n.due_at <= $2 AND NOT r.paused
					AND NOT EXISTS (SELECT 1 FROM notifications s WHERE s.state = 'sending' AND s.due_at > $2 AND s.receiver = n.receiver) ORDER BY n.due_at, n.id LIMIT $3)
				RETURNING `+notificationColumns, now.Add(ttl).UnixMicro(), now.UnixMicro(), limit, by)
			if err != nil {
				return err
			}
			if out, err = notificationRows(rows); err != nil {
				return err
			}
			for i := range out {
				if out[i].Payload == "" {
					if err := d.compose(ctx, tx, &out[i]); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	return out, nil
}

// compose puts a notification into words, from its violations.
func (d *DB) compose(ctx context.Context, tx *sql.Tx, n *Notification) error {
	violations, err := toldViolations(ctx, tx, n.ID)
	if err != nil {
		return err
	}
	names, err := violationNames(ctx, tx, violations)
	if err != nil {
		return err
	}
	groups := groupViolations(violations, names)
	text, err := json.Marshal(groups)
	if err != nil {
		return err
	}
	n.Payload = string(text)
	if n.Subject == severalTitle && len(violations) > 0 { // the gravest is the first of them
		g := &violations[0].group
		n.Subject = fmt.Sprintf("%d findings, %s the gravest", len(groups), cmp.Or(g.Vulnerability, g.Policy+": "+g.Rule))
	}
	_, err = tx.ExecContext(ctx, `UPDATE notifications SET payload = $1, subject = $2 WHERE id = $3`, n.Payload, n.Subject, n.ID)
	return err
}

func toldViolations(ctx context.Context, tx *sql.Tx, notification int64) ([]routedViolation, error) {
	rows, err := tx.QueryContext(ctx, `SELECT v.id, v.watch, v.image, v.policy, v.rule, v.vulnerability, v.severity, v.decision, v.message, v.package, nv.owner
		FROM notification_violations nv JOIN violations v ON v.id = nv.violation WHERE nv.notification = $1 ORDER BY v.severity DESC, v.vulnerability, v.id`, notification)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []routedViolation
	for rows.Next() {
		var v routedViolation
		var severity int
		var pkg string
		g := &v.group
		if err := rows.Scan(&v.id, &v.watch, &v.image, &g.Policy, &g.Rule, &g.Vulnerability, &severity, &g.Decision, &g.Message, &pkg, &g.Owner); err != nil {
			return nil, err
		}
		g.Severity = string(advisory.SeverityOfRank(severity))
		if pkg != "" {
			g.Packages = []string{pkg}
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// groupViolations brings violations of the same together, in their order.
func groupViolations(violations []routedViolation, names *scopedNames) []*notify.Group {
	out := []*notify.Group{}
	byKey := map[string]*notify.Group{}
	seen := map[string]bool{}
	first := func(kind, key, what string) bool {
		key = kind + "\x1f" + key + "\x1f" + what
		defer func() { seen[key] = true }()
		return !seen[key]
	}
	for i := range violations {
		v := &violations[i]
		key := groupKey(&v.group)
		g := byKey[key]
		if g == nil {
			copied := v.group
			g, copied.Packages, copied.Images, copied.Watches = &copied, nil, []string{}, []string{}
			byKey[key] = g
			out = append(out, g)
		}
		if first("image", key, fmt.Sprint(v.image)) {
			g.ImageCount++
			for _, n := range names.of(v.watch, v.image) {
				if n.owner == g.Owner && len(g.Images) < namesInGroup && len(g.Images) < g.ImageCount {
					g.Images = append(g.Images, n.repository+":"+n.tag)
				}
			}
		}
		for _, p := range v.group.Packages {
			if len(g.Packages) < namesInGroup && first("package", key, p) {
				g.Packages = append(g.Packages, p)
			}
		}
		if w := names.watches[v.watch]; w != nil && first("watch", key, w.Name) {
			g.Watches = append(g.Watches, w.Name)
		}
		if v.group.Decision == "fail" {
			g.Decision = v.group.Decision
		}
	}
	slices.SortStableFunc(out, func(a, b *notify.Group) int { return cmp.Compare(b.ImageCount, a.ImageCount) })
	return out
}

// NotificationSent records that a receiver took a notification; ErrConflict when another
// has claimed it since.
func (d *DB) NotificationSent(ctx context.Context, id, fence int64) error {
	return d.recordNotification(ctx, id, fence, `state = 'sent', error = '', due_at = NULL, delivered_at = $1`, d.now().UnixMicro())
}

// NotificationFailed records that an attempt failed and when the next one is; the zero
// time gives it up. ErrConflict when another has claimed it since.
func (d *DB) NotificationFailed(ctx context.Context, id, fence int64, failure string, next time.Time) error {
	state := "due"
	if next.IsZero() {
		state = "failed"
	}
	return d.recordNotification(ctx, id, fence, `state = $1, error = $2, due_at = CAST($3 AS BIGINT)`, state, failure, micros(next))
}

// RestReceiver lets what is due for a receiver wait until a time: it was not reached, or
// asked to wait, so that each of its notifications need not find out.
func (d *DB) RestReceiver(ctx context.Context, id int64, until time.Time) error {
	if _, err := d.db.ExecContext(ctx, `UPDATE notifications SET due_at = $1 WHERE receiver = $2 AND state = 'due' AND due_at < $1`, until.UnixMicro(), id); err != nil {
		return fmt.Errorf("receiver %d: %w", id, err)
	}
	return nil
}

func (d *DB) recordNotification(ctx context.Context, id, fence int64, set string, args ...any) error {
	n := len(args)
	r, err := affected(d.db.ExecContext(ctx, fmt.Sprintf(`UPDATE notifications SET %s WHERE id = $%d AND fence = $%d AND state = 'sending'`, set, n+1, n+2), append(args, id, fence)...))
	if err == nil && r == 0 {
		err = ErrConflict
	}
	if err != nil {
		return fmt.Errorf("notification %d: %w", id, err)
	}
	return nil
}

// ResendNotification makes a notification due now: a new attempt of the same delivery.
// ErrConflict while it is being sent.
func (d *DB) ResendNotification(ctx context.Context, id int64) error {
	n, err := affected(d.db.ExecContext(ctx, `UPDATE notifications SET state = 'due', due_at = $1 WHERE id = $2 AND state <> 'sending'`, d.now().UnixMicro(), id))
	if err == nil && n == 0 {
		err = ErrConflict
		var there int
		if e := d.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM notifications WHERE id = $1`, id).Scan(&there); e != nil || there == 0 {
			err = cmp.Or(e, ErrNotFound)
		}
	}
	if err != nil {
		return fmt.Errorf("notification %d: %w", id, err)
	}
	return nil
}

// Notifications lists them from the newest, of a state (empty for all), with ids below
// before (0: all), at most limit.
func (d *DB) Notifications(ctx context.Context, state string, before int64, limit int) ([]Notification, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := d.db.QueryContext(ctx, `SELECT `+notificationColumns+` FROM notifications WHERE id < $1 AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3`, before, state, limit)
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	out, err := notificationRows(rows)
	if err != nil {
		return nil, fmt.Errorf("notifications: %w", err)
	}
	return out, nil
}
