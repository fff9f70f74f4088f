package jobs

import (
	"context"
	"log/slog"
	"time"

	"strata/internal/store"
)

// RetainWork deletes once a day what is older than is to be kept (store.DB.Retain).
func RetainWork(db *store.DB, keep, history time.Duration, log *slog.Logger) Work {
	return Work{Kind: Retain, Every: 24 * time.Hour, Timeout: 6 * time.Hour, Do: func(ctx context.Context, _ string) error {
		n, err := db.Retain(ctx, keep, history)
		if err == nil {
			log.InfoContext(ctx, "retention", "images", n.Images, "layers", n.Layers, "packages", n.Packages)
		}
		return err
	}}
}
