package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"modernc.org/sqlite"

	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/scan"
)

// A Cache keeps what is in layers, and which images were seen, in an SQLite file
// that any number of processes may use at the same time. It holds nothing that
// can't be had again.
type Cache struct {
	db  *sql.DB
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// cacheVersion is that of the tables and of the encoding of layers. A file of
// another version is emptied.
const cacheVersion = 2

const cacheSchema = `
DROP TABLE IF EXISTS layers;
CREATE TABLE layers (
	diff_id      TEXT NOT NULL,
	analyzer_set TEXT NOT NULL,
	inventory    BLOB NOT NULL,
	created_at   TEXT NOT NULL,
	PRIMARY KEY (diff_id, analyzer_set)
);` + imageSchema

// maxCachedLayer bounds what one stored layer may decode to.
const maxCachedLayer = 1 << 30

// OpenCache opens the cache file, and makes it when there is none, or when it is
// damaged.
func OpenCache(ctx context.Context, path string) (*Cache, error) {
	c, err := openCache(ctx, path)
	for wait := time.Millisecond; (damaged(err) || disturbed(err)) && wait < 5*time.Second && ctx.Err() == nil; wait *= 2 {
		time.Sleep(wait)
		c, err = mendCache(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w (give another folder by --cache-dir)", path, err)
	}
	return c, nil
}

// mendCache opens the file while no other process takes it away, and makes a
// damaged one anew: nothing in it is lost that can't be had again.
func mendCache(ctx context.Context, path string) (*Cache, error) {
	lock, err := lockFile(ctx, path+".lock", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	c, err := openCache(ctx, path)
	if !damaged(err) {
		return c, err // another process was faster
	}
	if err := removeCache(path); err != nil {
		return nil, err
	}
	return openCache(ctx, path)
}

// disturbed tells errors of a process that opens the file while another takes it
// away and makes it anew, for which SQLite does not wait (as it does for writers).
func disturbed(err error) bool {
	const busy, ioError = 5, 10 // https://www.sqlite.org/rescode.html
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == busy || e.Code()&0xff == ioError)
}

func removeCache(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func openCache(ctx context.Context, path string) (*Cache, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	// WAL lets readers read while another process writes; writers wait for each
	// other. Losing the last writes to a power cut loses nothing but time.
	q := url.Values{"_pragma": {"busy_timeout(30000)", "journal_mode(WAL)", "synchronous(NORMAL)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	// What repeats in a layer's inventory does so within a short distance: a small
	// window makes the encoder's memory small too.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxCachedLayer))
	if err != nil {
		return nil, err
	}
	c := &Cache{db: db, enc: enc, dec: dec}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// prepare makes the tables, once, whoever comes first.
func (c *Cache) prepare(ctx context.Context) error {
	v, err := c.version(ctx, c.db)
	if err != nil || v == cacheVersion {
		return err
	}
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	// Another process may have been faster.
	if v, err = c.version(ctx, tx); err != nil || v == cacheVersion {
		return err
	}
	if _, err := tx.ExecContext(ctx, cacheSchema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", cacheVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

func (c *Cache) version(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (v int, err error) {
	err = q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// Close closes the file.
func (c *Cache) Close() error {
	c.dec.Close()
	return errors.Join(c.enc.Close(), c.db.Close())
}

// Layer implements scan.Cache.
func (c *Cache) Layer(ctx context.Context, id image.DiffID, set string) (*inventory.Layer, error) {
	var blob []byte
	err := c.db.QueryRowContext(ctx, "SELECT inventory FROM layers WHERE diff_id = $1 AND analyzer_set = $2", string(id), set).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s", scan.ErrNotCached, id)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		// A cache that can't be read is as good as none.
		return nil, fmt.Errorf("%w: %s: %w", scan.ErrNotCached, id, err)
	}
	l, err := c.decode(blob)
	if err == nil && l.DiffID != id {
		err = fmt.Errorf("it is of layer %s", l.DiffID)
	}
	if err != nil {
		// A damaged row is as good as none: the layer is read again.
		return nil, fmt.Errorf("%w: %s: its row is damaged: %w", scan.ErrNotCached, id, err)
	}
	return l, nil
}

// PutLayer implements scan.Cache.
func (c *Cache) PutLayer(ctx context.Context, set string, l *inventory.Layer) error {
	blob, err := c.encode(l)
	if err != nil {
		return fmt.Errorf("cache: layer %s: %w", l.DiffID, err)
	}
	_, err = c.db.ExecContext(ctx, `INSERT INTO layers (diff_id, analyzer_set, inventory, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (diff_id, analyzer_set) DO UPDATE SET inventory = excluded.inventory, created_at = excluded.created_at`,
		string(l.DiffID), set, blob, time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("cache: layer %s: %w", l.DiffID, err)
	}
	return nil
}

// A stored layer is the length of its JSON, the JSON, and the listing.
func (c *Cache) encode(l *inventory.Layer) ([]byte, error) {
	doc, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint(nil, uint64(len(doc)))
	b = append(b, doc...)
	listing, err := l.Listing()
	if err != nil {
		return nil, err
	}
	if b, err = listing.AppendBinary(b); err != nil {
		return nil, err
	}
	return c.enc.EncodeAll(b, nil), nil
}

func (c *Cache) decode(blob []byte) (*inventory.Layer, error) {
	b, err := c.dec.DecodeAll(blob, nil)
	if err != nil {
		return nil, err
	}
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, errors.New("short row")
	}
	doc, listing := b[size:size+int(n)], b[size+int(n):]
	l := &inventory.Layer{}
	if err := json.NewDecoder(bytes.NewReader(doc)).Decode(l); err != nil {
		return nil, err
	}
	return l, l.Paths.UnmarshalBinary(listing)
}
