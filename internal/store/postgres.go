package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

// How long it takes to connect to one host at most, and how long the other side may be
// silent before a connection counts as dead.
const (
	connectTimeout = 10 * time.Second
	peerSilence    = 20 * time.Second
)

// sessionSettings are what each connection to PostgreSQL is given, unless the URL says
// otherwise. Nothing of them is reached in a server that works: an instance that is
// stopped in the middle of a transaction, or whose machine or network is gone, is to hold
// its locks for seconds, not for the two hours after which TCP notices: for no longer than
// others need to see that it is silent (SilentAfter), and a little. Those of TCP are
// for the side of PostgreSQL; over a socket of this machine they mean nothing. Statements
// are not compiled: that takes a second for those that look dear, longer than they do.
func sessionSettings() map[string]string {
	return map[string]string{
		"jit":                                 "off",
		"statement_timeout":                   "15min",
		"lock_timeout":                        "2min",
		"idle_in_transaction_session_timeout": "10s",
		"tcp_keepalives_idle":                 "10",
		"tcp_keepalives_interval":             "5",
		"tcp_keepalives_count":                "2",
		"tcp_user_timeout":                    "20000",
	}
}

// poolConfig is how an instance talks to PostgreSQL. With several hosts in the URL each
// connection is to the first that is as target_session_attrs wants it.
func poolConfig(location string, o DBOptions) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(location)
	if err != nil {
		return nil, err
	}
	c.MaxConns = 16
	if o.MaxConns > 0 {
		c.MaxConns = int32(o.MaxConns)
	}
	// What the pool would find out by itself within minutes.
	const check, ping = 10 * time.Second, 5 * time.Second
	c.HealthCheckPeriod, c.PingTimeout = check, ping
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{
		Timeout:         c.ConnConfig.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: peerSilence / 2, Interval: peerSilence / 4, Count: 2},
		Control:         unansweredFor(peerSilence),
	}
	c.ConnConfig.DialFunc = dialer.DialContext
	settings := sessionSettings()
	maps.DeleteFunc(settings, func(name, _ string) bool { return c.ConnConfig.RuntimeParams[name] != "" })
	// Not as parameters of the start, which poolers between refuse.
	var set []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		set = append(set, "set_config('"+name+"', '"+settings[name]+"', false)")
	}
	if len(set) > 0 {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `SELECT `+strings.Join(set, ", "))
			return err
		}
	}
	return c, nil
}

func (d *DB) openPostgres(ctx context.Context, location string, o DBOptions) error {
	c, err := poolConfig(location, o)
	if err != nil {
		return err
	}
	if d.pool, err = pgxpool.NewWithConfig(ctx, c); err != nil {
		return err
	}
	d.db = stdlib.OpenDBFromPool(d.pool)
	return d.db.PingContext(ctx)
}

// redactLocation has no password.
func redactLocation(location string) string {
	if !IsPostgres(location) {
		return location
	}
	c, err := pgx.ParseConfig(location)
	if err != nil {
		return "postgres://…"
	}
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host) // also with and without TLS
	}
	return fmt.Sprintf("postgres://%s@%s/%s", c.User, strings.Join(slices.Compact(hosts), ","), c.Database)
}

// patient lets a transaction that no other waits for think for longer between its
// statements than those that hold what others need.
func (d *DB) patient(ctx context.Context, tx *sql.Tx) error {
	if d.pool == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = '10min'`)
	return err
}

// DiskFull tells whether an error is that the database has no room on its disk: what
// somebody mends, and may be tried again as often as it takes.
func DiskFull(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "53100"
	}
	const full, noSharedMemory = 13, 4874 // https://www.sqlite.org/rescode.html
	lite, ok := errors.AsType[*sqlite.Error](err)
	return ok && (lite.Code()&0xff == full || lite.Code() == noSharedMemory)
}

// Unavailable tells whether an error is that the database can't be reached, or has no
// place for another connection, or no room on its disk, or is none to write to: what
// passes, and may be tried again. Wrong passwords and names don't pass.
func Unavailable(err error) bool {
	if DiskFull(err) {
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// https://www.postgresql.org/docs/15/errcodes-appendix.html: connections, too many,
		// stopped, crashed or starting, and a standby that was the primary.
		return strings.HasPrefix(pg.Code, "08") || slices.Contains([]string{"53300", "57P01", "57P02", "57P03", "25006"}, pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}
