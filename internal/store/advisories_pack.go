package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// An exported database is one file: a line with the format's name, a line of
// JSON that describes the content, and the SQLite file, compressed with zstd.
const (
	packMagic      = "strata-advisories 1\n"
	maxPackHeader  = 64 << 10
	maxPackContent = 64 << 30
)

// packHeader describes an exported database.
type packHeader struct {
	// Size and SHA256 are those of the SQLite file.
	Size    int64     `json:"size"`
	SHA256  string    `json:"sha256"`
	Schema  int       `json:"schema"`
	Records int       `json:"records"`
	Oldest  time.Time `json:"oldest_sync"`
}

// Export writes the database to w as one compressed file with a checksum, for
// ImportAdvisories on a machine without network.
func (a *Advisories) Export(ctx context.Context, w io.Writer) error {
	if err := a.export(ctx, w); err != nil {
		return fmt.Errorf("export of advisory database %s: %w", a.path, err)
	}
	return nil
}

func (a *Advisories) export(ctx context.Context, w io.Writer) error {
	s, err := a.Status(ctx)
	if err != nil {
		return err
	}
	// The file may be replaced meanwhile: one open file is one state.
	f, err := os.Open(a.path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := packHeader{Schema: advisorySchema, Records: s.Records, Oldest: s.Oldest}
	sum := sha256.New()
	if h.Size, err = io.Copy(sum, contextReader{ctx, f}); err != nil {
		return err
	}
	h.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, packMagic+string(head)+"\n"); err != nil {
		return err
	}
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	_, err = io.Copy(z, contextReader{ctx, f})
	return errors.Join(err, z.Close())
}

// ImportAdvisories replaces the database at path by an exported one, after it
// was read in full and its checksum, its format and its tables were checked.
// Until then the old one stays. log may be nil.
func ImportAdvisories(ctx context.Context, path string, r io.Reader, log *slog.Logger) (AdvisoryStatus, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := importAdvisories(ctx, path, r, log)
	if err != nil {
		return AdvisoryStatus{}, fmt.Errorf("import into advisory database %s: %w", path, err)
	}
	return s, nil
}

func importAdvisories(ctx context.Context, path string, r io.Reader, log *slog.Logger) (AdvisoryStatus, error) {
	br := bufio.NewReader(r)
	h, err := readPackHeader(br)
	if err != nil {
		return AdvisoryStatus{}, err
	}
	d, err := openDraft(ctx, path, false, log)
	if err != nil {
		return AdvisoryStatus{}, err
	}
	s, err := fillDraft(ctx, d, h, br)
	if err != nil {
		return AdvisoryStatus{}, errors.Join(err, d.discard())
	}
	s.Path = path
	return s, d.publish()
}

func readPackHeader(r *bufio.Reader) (packHeader, error) {
	magic := make([]byte, len(packMagic))
	if _, err := io.ReadFull(r, magic); err != nil || !bytes.Equal(magic, []byte(packMagic)) {
		return packHeader{}, errors.New("not a file that `strata db export` wrote, or of a newer format")
	}
	var line []byte
	for {
		c, err := r.ReadByte()
		if err != nil || len(line) > maxPackHeader {
			return packHeader{}, errors.New("the file's header is damaged")
		}
		if c == '\n' {
			break
		}
		line = append(line, c)
	}
	var h packHeader
	if err := json.Unmarshal(line, &h); err != nil || h.Size <= 0 || h.Size > maxPackContent || len(h.SHA256) != 2*sha256.Size {
		return packHeader{}, errors.New("the file's header is damaged")
	}
	if h.Schema > advisorySchema {
		return packHeader{}, fmt.Errorf("made by a newer strata (schema %d, want at most %d)", h.Schema, advisorySchema)
	}
	return h, nil
}

// fillDraft writes the file's content over the draft and checks it.
func fillDraft(ctx context.Context, d *draft, h packHeader, r io.Reader) (AdvisoryStatus, error) {
	if err := d.db.Close(); err != nil {
		return AdvisoryStatus{}, err
	}
	d.db = nil
	if err := unpack(ctx, d.temp, h, r); err != nil {
		return AdvisoryStatus{}, err
	}
	if err := d.open(ctx); err != nil {
		return AdvisoryStatus{}, fmt.Errorf("the file holds no advisory database: %w", err)
	}
	if err := d.verify(ctx); err != nil {
		return AdvisoryStatus{}, fmt.Errorf("the file holds no sound advisory database: %w", err)
	}
	return newAdvisories(d.db, d.temp).Status(ctx)
}

func unpack(ctx context.Context, path string, h packHeader, r io.Reader) error {
	z, err := zstd.NewReader(contextReader{ctx, r}, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(z, h.Size+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("the file is damaged: %w", err)
	}
	if n != h.Size || hex.EncodeToString(sum.Sum(nil)) != h.SHA256 {
		return errors.New("the file is damaged: its content doesn't have the size and checksum that its header tells")
	}
	return nil
}

// verify tells whether the draft, which someone else made, is whole and has
// nothing but our tables: no views or triggers that would run as we read.
func (d *draft) verify(ctx context.Context) error {
	var check string
	if err := d.db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return errors.New(check)
	}
	strange, err := queryStrings(ctx, d.db.QueryContext, `SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'`)
	if err != nil {
		return err
	}
	if len(strange) > 0 {
		return fmt.Errorf("it holds %q, which is no table of ours", strange[0])
	}
	return nil
}

// A contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
