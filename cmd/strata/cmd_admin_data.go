package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/jobs"
	"strata/internal/store"
)

func newAdminBackupCommand(a *app) *cobra.Command {
	var o databaseFlags
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all of a server's database to a file",
		Long: `Write all of a server's database to a file, as it is at one moment; the server may go
on meanwhile. FILE is compressed, has a checksum, and can be restored into SQLite and
PostgreSQL alike: it is also the way from one to the other. - is standard output.

Passwords of registries and other secrets stay sealed in it: keep the server's key
(--key-file of strata serve) with it, but not in the same place. The advisories are
not in it; a server gets them from their feeds.`,
		Example: `  strata admin backup strata-backup.zst
  strata admin backup --database postgres://strata@db/strata - | ssh backup 'cat > strata.zst'`,
		Args: oneArgument("file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), &o, args[0]) },
	}
	o.flags(cmd.Flags())
	return cmd
}

func (a *app) backup(ctx context.Context, o *databaseFlags, file string) (err error) {
	db, err := a.existingDatabase(ctx, o, store.DBOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if file == "-" {
		_, err = db.Backup(ctx, a.stdout)
		return err
	}
	// What is at FILE stays until the new one is whole.
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".new-*")
	if err != nil {
		return err
	}
	rows, err := db.Backup(ctx, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	a.say("%d rows written to %s; keep the server's key, too", rows, file)
	return nil
}

// existingDatabase opens a database that is there: backing up one that was just made by
// a wrong name helps nobody.
func (a *app) existingDatabase(ctx context.Context, o *databaseFlags, keys store.DBOptions) (*store.DB, error) {
	location, err := o.location(a)
	if err != nil {
		return nil, err
	}
	if !store.IsPostgres(location) {
		if _, err := os.Stat(location); err != nil {
			return nil, fmt.Errorf("database: %w (give another by --database or --data-dir)", err)
		}
	}
	return store.OpenDB(ctx, location, keys)
}

func newAdminRestoreCommand(a *app) *cobra.Command {
	var o databaseFlags
	var k keyFlags
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Read what backup wrote into an empty database",
		Long: `Read what strata admin backup wrote into an empty database of either engine, which is
made when it isn't there: all of it, or nothing. FILE may be -, standard input.

Stop the server before. It needs the key that it had (--key-file), without which the
secrets in the database can't be opened; which one that is, is said where it isn't among those given.`,
		Example: `  strata admin restore --database postgres://strata@db/strata strata-backup.zst`,
		Args:    oneArgument("file"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.restore(cmd.Context(), &o, &k, args[0]) },
	}
	o.flags(cmd.Flags())
	k.flags(cmd.Flags())
	return cmd
}

func (a *app) restore(ctx context.Context, o *databaseFlags, k *keyFlags, file string) (err error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	location, err := o.location(a)
	if err != nil {
		return err
	}
	db, err := store.OpenDB(ctx, location, store.DBOptions{Alone: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.Restore(ctx, in)
	if err != nil {
		return err
	}
	a.say("%d rows restored", rows)
	return a.sayKeyOfSecrets(ctx, db, o, k)
}

// sayKeyOfSecrets tells which key what was restored was sealed with, and whether it is the
// one that is there.
func (a *app) sayKeyOfSecrets(ctx context.Context, db *store.DB, o *databaseFlags, k *keyFlags) error {
	id, err := db.KeyOfSecrets(ctx)
	if err != nil || id == "" {
		return err
	}
	dir, err := a.dataDir(o.dataDir)
	if err != nil {
		return err
	}
	keys, err := k.given(a, dir)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if store.KeyIDOf(key) == id {
			return nil
		}
	}
	where := "no key is here"
	if len(keys) > 0 {
		where = fmt.Sprintf("the one here is %s", store.KeyIDOf(keys[0]))
	}
	a.say("the secrets in it are sealed with key %s, and %s: start the server with that key (--key-file, STRATA_KEY)", id, where)
	return nil
}

func newAdminMigrateCommand(a *app) *cobra.Command {
	var o databaseFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of a database to the form of this version",
		Long: `Bring the tables of a database to the form of this version, as strata serve does when
it starts. Of several that do so at once, one does, and the others wait. There is no
way back but a backup from before.

Instances of the version before may go on meanwhile. Where older ones run that could
not use the tables then, nothing is changed, and they are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			location, err := o.location(a)
			if err != nil {
				return err
			}
			db, err := store.OpenDB(cmd.Context(), location, store.DBOptions{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			if err := jobs.Migrate(cmd.Context(), db); err != nil {
				return err
			}
			a.say("the tables are as this version has them")
			return nil
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

func newAdminRetentionCommand(a *app) *cobra.Command {
	var o databaseFlags
	var keep retentionFlags
	cmd := &cobra.Command{
		Use:   "retention",
		Short: "Delete images that no tag names any more, and old history",
		Long: `Delete images that no tag has named for some time, with what of layers and packages
no other image has, and history that is older than is to be kept. The server may go on
meanwhile. It does the same on its own once a day, by the flags of the same names of
strata serve.`,
		Example: `  strata admin retention --keep-untagged 720h --keep-history 8760h`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.retention(cmd.Context(), &o, &keep)
		},
	}
	o.flags(cmd.Flags())
	keep.flags(cmd.Flags())
	return cmd
}

// retentionFlags say what a database keeps besides what tags name now.
type retentionFlags struct{ untagged, history time.Duration }

func (o *retentionFlags) flags(f *pflag.FlagSet) {
	const days90, years2 = 90 * 24 * time.Hour, 2 * 365 * 24 * time.Hour
	f.DurationVar(&o.untagged, "keep-untagged", days90, "keep images for this `DURATION` after their last tag has gone, or their scan where they had none; 0 keeps none")
	f.DurationVar(&o.history, "keep-history", years2, "keep history of tags, findings, violations, notifications and changes for this `DURATION`; 0 keeps all of it")
}

func (o *retentionFlags) check() error {
	if o.untagged < 0 || o.history < 0 {
		return errors.New("--keep-untagged, --keep-history: want a time such as 720h, or 0")
	}
	return nil
}

func (a *app) retention(ctx context.Context, o *databaseFlags, keep *retentionFlags) (err error) {
	if err := keep.check(); err != nil {
		return err
	}
	db, err := a.existingDatabase(ctx, o, store.DBOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	n, err := db.Retain(ctx, keep.untagged, keep.history)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "deleted: %d images, %d manifests, %d layers, %d package versions; of history %d tags, %d findings, %d violations, %d notifications, %d lines of audit\n",
		n.Images, n.Manifests, n.Layers, n.Packages, n.Tags, n.Findings, n.Violations, n.Notifications, n.Audit)
	return err
}
