package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// A backup is one file for both engines: a line with the format's name, then
// compressed with zstd a line of JSON for what follows of each table ("table"), a line
// for each row, and at the end ("end") the number of rows and the SHA-256 of all lines
// before. Bytes are {"b": base64}.
const (
	backupMagic = "strata-backup 1\n"
	// maxBackupLine bounds one row.
	maxBackupLine = 2 << 30
)

// passing are the tables of what goes on at the moment, which is worth nothing later, and
// of what the tables are themselves.
func passing() []string {
	return []string{"leases", "instances", "login_failures", "sessions", "image_changes", "compatibility"}
}

// backupTables are the tables that a backup has, each after those it refers to: the
// order of the migrations.
func backupTables() ([]string, error) {
	names, err := fs.Glob(serverMigrationFiles, "migrations/server/*.sql")
	if err != nil {
		return nil, err
	}
	create := regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)
	var tables []string
	for _, name := range names {
		text, err := serverMigrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, m := range create.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(passing(), m[1]) {
				tables = append(tables, m[1])
			}
		}
	}
	return tables, nil
}

// A backupLine is what a line says that is no row.
type backupLine struct {
	Table   string   `json:"table,omitempty"`
	Columns []string `json:"columns,omitempty"`
	End     bool     `json:"end,omitempty"`
	Rows    int64    `json:"rows,omitempty"`
	SHA256  string   `json:"sha256,omitempty"`
	Schema  int64    `json:"schema,omitempty"`
}

// Backup writes all of the database to w, as it is at one moment, while the server goes
// on. Restore reads it into a database of either engine. Secrets stay sealed: the
// server's key is needed with it. The advisories are not in it, which come from their
// feeds again. It gives the number of rows.
func (d *DB) Backup(ctx context.Context, w io.Writer) (rows int64, err error) {
	rows, err = d.backup(ctx, w)
	if err != nil {
		return 0, fmt.Errorf("backup: %w", err)
	}
	return rows, nil
}

func (d *DB) backup(ctx context.Context, w io.Writer) (int64, error) {
	tables, err := backupTables()
	if err != nil {
		return 0, err
	}
	// One snapshot, for which nobody waits.
	tx, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: d.snapshot()})
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to keep
	if err := d.patient(ctx, tx); err != nil {
		return 0, err
	}
	schema, err := d.notNewer(ctx, tx)
	if err != nil {
		return 0, err
	}
	if _, err := io.WriteString(w, backupMagic); err != nil {
		return 0, err
	}
	z, err := zstd.NewWriter(w)
	if err != nil {
		return 0, err
	}
	b := &backupWriter{sum: sha256.New(), w: z}
	if err := b.line(backupLine{Schema: schema}); err != nil {
		return 0, err
	}
	for _, t := range tables {
		if err := b.table(ctx, tx, t); err != nil {
			return 0, fmt.Errorf("%s: %w", t, err)
		}
	}
	if err := b.line(backupLine{End: true, Rows: b.rows, SHA256: hex.EncodeToString(b.sum.Sum(nil))}); err != nil {
		return 0, err
	}
	return b.rows, z.Close()
}

func (d *DB) snapshot() sql.IsolationLevel {
	if d.pool != nil {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault // SQLite's readers always have one
}

type backupWriter struct {
	sum  hash.Hash
	w    io.Writer
	rows int64
}

func (b *backupWriter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if _, err := b.sum.Write(text); err != nil {
		return err
	}
	_, err = b.w.Write(text)
	return err
}

func (b *backupWriter) table(ctx context.Context, tx *sql.Tx, table string) error {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	columns := make([]string, len(types))
	for i, t := range types {
		columns[i] = t.Name()
	}
	if err := b.line(backupLine{Table: table, Columns: columns}); err != nil {
		return err
	}
	values, targets := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		targets[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i := range values {
			values[i] = portable(values[i], types[i].DatabaseTypeName())
		}
		if err := b.line(values); err != nil {
			return err
		}
		b.rows++
	}
	return rows.Err()
}

// portable is a value of either engine as JSON has it.
func portable(v any, typ string) any {
	switch x := v.(type) {
	case []byte:
		return map[string]string{"b": base64.StdEncoding.EncodeToString(x)}
	case int64:
		if strings.HasPrefix(strings.ToUpper(typ), "BOOL") {
			return x != 0
		}
	}
	return v
}

// Restore reads a backup into an empty database: all of it, or nothing when the file is
// damaged or is of a newer version. It gives the number of rows.
func (d *DB) Restore(ctx context.Context, r io.Reader) (rows int64, err error) {
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		rows, err = d.restore(ctx, tx, r)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("restore: %w", err)
	}
	return rows, nil
}

func (d *DB) restore(ctx context.Context, tx *sql.Tx, r io.Reader) (int64, error) {
	tables, err := backupTables()
	if err != nil {
		return 0, err
	}
	if err := emptied(ctx, tx, tables); err != nil {
		return 0, err
	}
	magic := make([]byte, len(backupMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != backupMagic {
		return 0, errors.New("not a file that `strata admin backup` wrote, or of a newer format")
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	b := &backupReader{DB: d, tx: tx, tables: tables, lines: bufio.NewScanner(z), sum: sha256.New()}
	b.lines.Buffer(nil, maxBackupLine)
	if err := b.read(ctx); err != nil {
		return 0, err
	}
	if err := d.touchImages(ctx, tx, "TRUE"); err != nil {
		return 0, err
	}
	return b.rows, d.restoreSequences(ctx, tx, tables)
}

// emptied takes out what a server that was only started has in its tables, and is an
// error when there is more.
func emptied(ctx context.Context, tx *sql.Tx, tables []string) error {
	for _, t := range tables {
		if t == "settings" || t == "schedules" || t == "audit" {
			continue
		}
		var n int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w: the database is not empty (%d rows in %s): restore into a new one", ErrConflict, n, t)
		}
	}
	for _, t := range []string{"settings", "schedules", "audit"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+t); err != nil {
			return err
		}
	}
	return nil
}

type backupReader struct {
	*DB
	tx     *sql.Tx
	tables []string
	lines  *bufio.Scanner
	sum    hash.Hash

	table   string
	columns []string
	batch   [][]any
	rows    int64
}

func (b *backupReader) read(ctx context.Context) error {
	for b.lines.Scan() {
		line := b.lines.Bytes()
		if len(line) == 0 {
			return errDamagedBackup
		}
		if line[0] == '[' {
			if err := b.row(ctx, line); err != nil {
				return err
			}
			b.add(line)
			continue
		}
		var head backupLine
		if err := json.Unmarshal(line, &head); err != nil {
			return errDamagedBackup
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
		if head.End {
			return b.end(head)
		}
		b.add(line)
		if err := b.head(ctx, head); err != nil {
			return err
		}
	}
	return errors.Join(errDamagedBackup, b.lines.Err())
}

var errDamagedBackup = errors.New("the file is damaged, or cut off: take another backup")

func (b *backupReader) add(line []byte) {
	b.sum.Write(line) // a hash gives no errors
	b.sum.Write([]byte{'\n'})
}

func (b *backupReader) head(ctx context.Context, head backupLine) error {
	if head.Table == "" {
		own, err := b.notNewer(ctx, b.tx)
		if err != nil {
			return err
		}
		if head.Schema > own {
			return fmt.Errorf("made by a newer strata (schema %d, this one has %d)", head.Schema, own)
		}
		var oldest int64
		if err := b.tx.QueryRowContext(ctx, oldestQuery).Scan(&oldest); err != nil {
			return err
		}
		if head.Schema < oldest { // what is in it has no place any more, and is not yet in the new one
			return fmt.Errorf("made by a strata that is too old (schema %d, this one takes %d and newer): restore it with a version between, start that, and upgrade from there", head.Schema, oldest)
		}
		return nil
	}
	// Names become part of statements: they must be of ours.
	if !slices.Contains(b.tables, head.Table) || slices.ContainsFunc(head.Columns, func(c string) bool { return !plainName(c) }) || len(head.Columns) == 0 {
		return fmt.Errorf("table %q is none of ours: %w", head.Table, errDamagedBackup)
	}
	b.table, b.columns = head.Table, head.Columns
	return nil
}

func plainName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_0123456789") == ""
}

func (b *backupReader) row(ctx context.Context, line []byte) error {
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.UseNumber()
	var values []any
	if err := d.Decode(&values); err != nil || len(values) != len(b.columns) || b.table == "" {
		return errDamagedBackup
	}
	for i, v := range values {
		var err error
		if values[i], err = fromPortable(v); err != nil {
			return err
		}
	}
	b.batch = append(b.batch, values)
	b.rows++
	if len(b.batch) >= 500/len(b.columns) {
		return b.flush(ctx)
	}
	return nil
}

// fromPortable reads what portable wrote.
func fromPortable(v any) (any, error) {
	switch x := v.(type) {
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n, nil
		}
		return x.Float64()
	case map[string]any:
		text, ok := x["b"].(string)
		if !ok {
			return nil, errDamagedBackup
		}
		return base64.StdEncoding.DecodeString(text)
	}
	return v, nil
}

func (b *backupReader) flush(ctx context.Context) error {
	if len(b.batch) == 0 {
		return nil
	}
	err := insertRows(ctx, b.tx, b.table, b.columns, "", b.batch)
	b.batch = b.batch[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", b.table, err)
	}
	return nil
}

func (b *backupReader) end(head backupLine) error {
	if head.Rows != b.rows || head.SHA256 != hex.EncodeToString(b.sum.Sum(nil)) {
		return errDamagedBackup
	}
	return nil
}

// restoreSequences lets ids go on after those that were restored. PostgreSQL keeps
// them apart from the rows; SQLite looks at the rows.
func (d *DB) restoreSequences(ctx context.Context, tx *sql.Tx, tables []string) error {
	if d.pool == nil {
		return nil
	}
	for _, t := range tables {
		var sequence sql.NullString
		err := tx.QueryRowContext(ctx, `SELECT pg_get_serial_sequence($1, a.attname) FROM pg_attribute a WHERE a.attrelid = CAST($1 AS regclass) AND a.attname = 'id' AND a.attidentity <> ''`, t).Scan(&sequence)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !sequence.Valid {
			continue
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `SELECT setval(CAST($1 AS regclass), (SELECT COALESCE(MAX(id), 0) + 1 FROM `+t+`), false)`, sequence.String)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return nil
}
