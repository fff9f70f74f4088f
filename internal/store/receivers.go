package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // schedules name zones, and images without a system have none
)

// A Receiver is told of violations. What its secret is (of a webhook, the password of
// SMTP, the address of a chat) is never listed.
type Receiver struct {
	ID        int64
	Name      string
	Kind      string
	Settings  ReceiverSettings
	HasSecret bool
	// Paused receivers are sent nothing; what is for them waits.
	Paused    bool
	UpdatedAt time.Time
}

// ReceiverSettings are what is no secret of a receiver.
type ReceiverSettings struct {
	// URL of a webhook, or of who takes CloudEvents.
	URL string `json:"url,omitempty"`
	// Host and Port of the SMTP server; TLS is "starttls" (default), "tls" or "none".
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	TLS      string `json:"tls,omitempty"`
	Username string `json:"username,omitempty"`
	From     string `json:"from,omitempty"`
	// To are the addresses of mails that no owner is known for.
	To []string `json:"to,omitempty"`
	// ToOwner are the addresses of owners of repositories; an owner that is an address
	// itself needs none.
	ToOwner map[string]string `json:"to_owner,omitempty"`
	// Schedule is "immediately" (default), "every 6h", or "daily 08:00 Europe/Berlin".
	Schedule string `json:"schedule,omitempty"`
}

// ReceiverKinds are the kinds of receivers.
func ReceiverKinds() []string { return []string{"webhook", "cloudevents", "email", "slack", "teams"} }

// forPeople tells whether people read what comes, and no program.
func (r *Receiver) forPeople() bool { return r.Kind != "webhook" && r.Kind != "cloudevents" }

// check tells what is wrong with a receiver.
func (r *Receiver) check() error {
	s := &r.Settings
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
	}
	if r.Name == "" || len(r.Name) > 100 || strings.ContainsFunc(r.Name, func(c rune) bool { return c <= ' ' || c == '/' || c == 0x7f }) {
		return bad("the name is without spaces and slashes, at most 100 bytes")
	}
	if !slices.Contains(ReceiverKinds(), r.Kind) {
		return bad("kind %q: want %s", r.Kind, strings.Join(ReceiverKinds(), ", "))
	}
	if _, err := nextDigest(s.Schedule, time.Unix(0, 0)); err != nil {
		return bad("%w", err)
	}
	switch r.Kind {
	case "webhook", "cloudevents":
		return checkReceiverURL("url", s.URL)
	case "email":
		return s.checkMail()
	}
	return nil
}

func checkReceiverURL(name, text string) error {
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return fmt.Errorf("%w: %s: want https://HOST/PATH, without a user", ErrInvalid, name)
	}
	return nil
}

func (s *ReceiverSettings) checkMail() error {
	if s.Host == "" || s.Port < 0 || s.Port > 65535 || !slices.Contains([]string{"", "starttls", "tls", "none"}, s.TLS) {
		return fmt.Errorf("%w: want the host of an SMTP server, a port, and tls: starttls, tls or none", ErrInvalid)
	}
	if s.TLS == "none" && s.Username != "" {
		return fmt.Errorf("%w: username: a password is sent over TLS only; leave it out, or take tls: starttls or tls", ErrInvalid)
	}
	addresses := append([]string{s.From}, s.To...)
	for _, a := range s.ToOwner {
		addresses = append(addresses, a)
	}
	for _, a := range addresses {
		if p, err := mail.ParseAddress(a); err != nil || strings.ContainsAny(p.Address, "\r\n") {
			return fmt.Errorf("%w: %q: want a mail address", ErrInvalid, a)
		}
	}
	if len(s.To) == 0 {
		return fmt.Errorf("%w: to: want an address for what nobody is known to own", ErrInvalid)
	}
	return nil
}

// nextDigest is when what is found now is told by a schedule: now itself for "immediately".
func nextDigest(schedule string, now time.Time) (time.Time, error) {
	words := strings.Fields(schedule)
	switch {
	case len(words) == 0 || len(words) == 1 && words[0] == "immediately":
		return now, nil
	case len(words) == 2 && words[0] == "every":
		if d, err := time.ParseDuration(words[1]); err == nil && d >= time.Minute {
			return now.Truncate(d).Add(d), nil
		}
	case (len(words) == 2 || len(words) == 3) && words[0] == "daily":
		zone := time.UTC
		clock, err := time.Parse("15:04", words[1])
		if err == nil && len(words) == 3 {
			zone, err = time.LoadLocation(words[2])
		}
		if err == nil {
			t := now.In(zone)
			for day := 0; ; day++ {
				if at := time.Date(t.Year(), t.Month(), t.Day()+day, clock.Hour(), clock.Minute(), 0, 0, zone); at.After(now) {
					return at, nil
				}
			}
		}
	}
	return time.Time{}, fmt.Errorf("schedule %q: want immediately, every DURATION, or daily HH:MM [ZONE]", schedule)
}

// recipients are the mail addresses that what an owner is told goes to, each in a mail of
// its own, so that one that is refused keeps it from nobody else. A receiver that takes no
// mail has one, which is empty.
func (r *Receiver) recipients(owner string) []string {
	if r.Kind != "email" {
		return []string{""}
	}
	if a, ok := r.Settings.ToOwner[owner]; ok {
		return []string{a}
	}
	if a, err := mail.ParseAddress(owner); err == nil {
		return []string{a.Address}
	}
	return r.Settings.To
}

const receiverColumns = `id, name, kind, settings, secret IS NOT NULL, paused, updated_at`

func scanReceiver(row interface{ Scan(...any) error }) (*Receiver, error) {
	r := &Receiver{}
	var settings string
	var updated sql.NullInt64
	err := row.Scan(&r.ID, &r.Name, &r.Kind, &settings, &r.HasSecret, &r.Paused, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	r.UpdatedAt = fromMicros(updated)
	return r, json.Unmarshal([]byte(settings), &r.Settings)
}

func receiverSecretOf(id int64) string { return fmt.Sprintf("receiver %d secret", id) }

// PutReceiver writes a receiver, in the place of one of its name, which must be of the
// same kind (ErrConflict). A nil secret leaves the one that is there; an empty one takes
// it away.
func (d *DB) PutReceiver(ctx context.Context, r *Receiver, secret *string) error {
	err := r.check()
	if err == nil && secret != nil && *secret != "" && (r.Kind == "slack" || r.Kind == "teams") {
		err = checkReceiverURL("secret", *secret)
	}
	if err == nil {
		err = d.inTx(ctx, func(tx *sql.Tx) error { return d.putReceiver(ctx, tx, r, secret) })
	}
	if err != nil {
		return fmt.Errorf("receiver %q: %w", r.Name, err)
	}
	return nil
}

func (d *DB) putReceiver(ctx context.Context, tx *sql.Tx, r *Receiver, secret *string) error {
	settings, err := json.Marshal(r.Settings)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO receivers (name, kind, settings, paused, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, paused = excluded.paused, updated_at = excluded.updated_at
		WHERE receivers.kind = excluded.kind RETURNING id`, r.Name, r.Kind, string(settings), r.Paused, d.now().UnixMicro()).Scan(&r.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: there is one of this name and another kind", ErrConflict)
	}
	if err != nil {
		return err
	}
	if secret != nil {
		var sealed any // NULL
		if *secret != "" {
			b, err := d.seal(receiverSecretOf(r.ID), []byte(*secret))
			if err != nil {
				return err
			}
			sealed = b
		}
		if _, err := tx.ExecContext(ctx, `UPDATE receivers SET secret = $1 WHERE id = $2`, sealed, r.ID); err != nil {
			return err
		}
	}
	if err := tx.QueryRowContext(ctx, `SELECT secret IS NOT NULL FROM receivers WHERE id = $1`, r.ID).Scan(&r.HasSecret); err != nil {
		return err
	}
	if !r.HasSecret && (r.Kind == "slack" || r.Kind == "teams") {
		return fmt.Errorf("%w: secret: want the address that the chat gave", ErrInvalid)
	}
	return nil
}

// ReceiverNamed is the receiver of a name; ErrNotFound when there is none.
func (d *DB) ReceiverNamed(ctx context.Context, name string) (*Receiver, error) {
	r, err := scanReceiver(d.db.QueryRowContext(ctx, `SELECT `+receiverColumns+` FROM receivers WHERE name = $1`, name))
	if err != nil {
		return nil, fmt.Errorf("receiver %q: %w", name, err)
	}
	return r, nil
}

// Receiver is the receiver of an id; ErrNotFound when there is none.
func (d *DB) Receiver(ctx context.Context, id int64) (*Receiver, error) {
	r, err := scanReceiver(d.db.QueryRowContext(ctx, `SELECT `+receiverColumns+` FROM receivers WHERE id = $1`, id))
	if err != nil {
		return nil, fmt.Errorf("receiver %d: %w", id, err)
	}
	return r, nil
}

// ReceiverSecret unseals the secret of a receiver; empty when it has none.
func (d *DB) ReceiverSecret(ctx context.Context, id int64) (string, error) {
	name, secret, err := d.secretOf(ctx, `SELECT name, secret FROM receivers WHERE id = $1`, id, receiverSecretOf(id))
	if err != nil {
		return "", fmt.Errorf("receiver %s: %w", name, err)
	}
	return string(secret), nil
}

// Receivers lists them by name, those after a name, at most limit.
func (d *DB) Receivers(ctx context.Context, after string, limit int) ([]*Receiver, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT `+receiverColumns+` FROM receivers WHERE name > $1 ORDER BY name LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("receivers: %w", err)
	}
	return receiverRows(rows)
}

func receiverRows(rows *sql.Rows) ([]*Receiver, error) {
	defer rows.Close()
	var out []*Receiver
	for rows.Next() {
		r, err := scanReceiver(rows)
		if err != nil {
			return nil, fmt.Errorf("receivers: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// DeleteReceiver deletes a receiver with its notifications. One that a watch tells stays:
// ErrConflict.
func (d *DB) DeleteReceiver(ctx context.Context, name string) error {
	err := d.inTx(ctx, func(tx *sql.Tx) error {
		watches, err := watchRows(ctx, tx)
		if err != nil {
			return err
		}
		for i := range watches {
			if slices.Contains(watches[i].Receivers, name) {
				return fmt.Errorf("%w: watch %s tells it", ErrConflict, watches[i].Name)
			}
		}
		return changed(tx.ExecContext(ctx, `DELETE FROM receivers WHERE name = $1`, name))
	})
	if err != nil {
		return fmt.Errorf("receiver %q: %w", name, err)
	}
	return nil
}

// PauseReceiver sends a receiver nothing until it is written anew: it said that it is gone.
func (d *DB) PauseReceiver(ctx context.Context, id int64) error {
	if err := changed(d.db.ExecContext(ctx, `UPDATE receivers SET paused = $1, updated_at = $2 WHERE id = $3`, true, d.now().UnixMicro(), id)); err != nil {
		return fmt.Errorf("receiver %d: %w", id, err)
	}
	return nil
}
