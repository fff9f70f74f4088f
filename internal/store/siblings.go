package store

import (
	"context"
	"fmt"
)

// Siblings are the images in the repositories of an image that a tag names now, of its
// platform and without itself, the newest first: what may stand in its place. Those in the
// scope of who asks (nil for all), at most limit.
func (d *DB) Siblings(ctx context.Context, id int64, scope []string, limit int) ([]int64, error) {
	inScope := ""
	if scope != nil {
		repositories, err := d.scopeRepositories(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("siblings of image %d: %w", id, err)
		}
		if repositories == "" {
			return nil, nil
		}
		inScope = ` AND m.repository IN (` + repositories + `)`
	}
	out, err := d.ids(ctx, `SELECT i.id FROM images i WHERE i.id <> $1 AND i.platform = (SELECT platform FROM images WHERE id = $1) AND EXISTS (
			SELECT 1 FROM manifest_images mi JOIN manifests m ON m.id = mi.manifest JOIN tags t ON t.manifest = m.id AND t.to_at IS NULL
			WHERE mi.image = i.id AND m.repository IN (SELECT om.repository FROM manifest_images o JOIN manifests om ON om.id = o.manifest WHERE o.image = $1)`+inScope+`)
		ORDER BY i.created_at DESC, i.id DESC LIMIT $2`, id, limit)
	if err != nil {
		return nil, fmt.Errorf("siblings of image %d: %w", id, err)
	}
	return out, nil
}
