package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// scanRequestAge is how long what Harbor asked for is kept: it asks for reports for
// some minutes.
const scanRequestAge = 24 * time.Hour

// A ScanRequest is a scan that Harbor asked for.
type ScanRequest struct {
	ID string
	// Manifest is its row, State and Reason that one's, Digest and Name
	// ("REGISTRY/REPOSITORY") what it is.
	Manifest      int64
	State, Reason string
	Digest, Name  string
	// Request is what was asked, as the asker has written it down.
	Request string
}

func scanRequestOf(id string) string { return "scan request " + id }

// RequestScan writes down that a scan of an image with a digest was asked for, which is
// due as when it was pushed. authorization is what to pull it with, instead of what the
// registry's settings have; it is sealed, and kept only when there is something to
// pull, until the scan has ended. due tells that it is to be queued.
func (d *DB) RequestScan(ctx context.Context, registry int64, priority int, n Named, request, authorization string) (id string, manifest int64, due bool, err error) {
	id = rand.Text()
	err = d.inTx(ctx, func(tx *sql.Tx) error {
		now := d.now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM scan_requests WHERE created_at < $1`, now.Add(-scanRequestAge).UnixMicro()); err != nil {
			return err
		}
		if manifest, due, err = d.pushed(ctx, tx, registry, priority, n); err != nil {
			return err
		}
		var sealed []byte
		if authorization != "" && due {
			if sealed, err = d.seal(scanRequestOf(id), []byte(authorization)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO scan_requests (id, manifest, request, sealed, created_at) VALUES ($1, $2, $3, $4, $5)`, id, manifest, request, sealed, now.UnixMicro())
		return err
	})
	if err != nil {
		return "", 0, false, fmt.Errorf("scan request: %s: %w", n.Repository, err)
	}
	return id, manifest, due, nil
}

// ScanRequest is one by its id; ErrNotFound when there is none.
func (d *DB) ScanRequest(ctx context.Context, id string) (*ScanRequest, error) {
	r := &ScanRequest{ID: id}
	err := d.db.QueryRowContext(ctx, `SELECT manifests.id, manifests.state, manifests.reason, manifests.digest, registries.name || '/' || repositories.name, scan_requests.request
		FROM scan_requests JOIN manifests ON manifests.id = scan_requests.manifest JOIN repositories ON repositories.id = manifests.repository
		JOIN registries ON registries.id = repositories.registry WHERE scan_requests.id = $1`, id).Scan(&r.Manifest, &r.State, &r.Reason, &r.Digest, &r.Name, &r.Request)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("scan request: %w", ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("scan request: %w", err)
	}
	return r, nil
}

// ScanAuthorization is what to pull a manifest with, as the last one who asked for its
// scan gave it: the value of an Authorization header. It is empty for none.
func (d *DB) ScanAuthorization(ctx context.Context, manifest int64) (string, error) {
	var id string
	var sealed []byte
	err := d.db.QueryRowContext(ctx, `SELECT id, sealed FROM scan_requests WHERE manifest = $1 AND sealed IS NOT NULL ORDER BY created_at DESC, id LIMIT 1`, manifest).Scan(&id, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("scan request: %w", err)
	}
	b, err := d.unseal(scanRequestOf(id), sealed)
	return string(b), err
}

// ForgetScanAuthorization deletes what ScanAuthorization gives. It is to be called when
// the scan of a manifest has ended, one way or another.
func (d *DB) ForgetScanAuthorization(ctx context.Context, manifest int64) error {
	if _, err := d.db.ExecContext(ctx, `UPDATE scan_requests SET sealed = NULL WHERE manifest = $1 AND sealed IS NOT NULL`, manifest); err != nil {
		return fmt.Errorf("scan request: %w", err)
	}
	return nil
}
