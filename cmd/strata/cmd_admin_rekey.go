package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"strata/internal/store"
)

func newAdminRekeyCommand(a *app) *cobra.Command {
	var o databaseFlags
	var k keyFlags
	var forget bool
	cmd := &cobra.Command{
		Use:   "rekey",
		Short: "Seal the secrets in a server's database with a new key",
		Long: `Seal the passwords of registries and the other secrets in the database with the first
of the keys that are given, all of them or none; the others open what they have
sealed. Instances may go on meanwhile, when they were started with both keys.

To change the key: put the new one behind the old one in the key file and restart the
instances, so that each can open what the new one seals. Put the new one first and
restart them again. Then run this, and take the old one out.`,
		Example: `  strata admin rekey --key-file /run/secrets/strata.key`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.rekey(cmd.Context(), &o, &k, forget) },
	}
	o.flags(cmd.Flags())
	k.flags(cmd.Flags())
	cmd.Flags().BoolVar(&forget, "forget", false, "delete the secrets that none of the keys opens, and name them: they are to be given anew")
	return cmd
}

func (a *app) rekey(ctx context.Context, o *databaseFlags, k *keyFlags, forget bool) (err error) {
	dir, err := a.dataDir(o.dataDir)
	if err != nil {
		return err
	}
	keys, err := k.given(a, dir)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return fmt.Errorf("no key: %s is not there; give --key-file or STRATA_KEY", k.path(dir))
	}
	options := keyOptions(keys)
	options.AnyKey = forget
	db, err := a.existingDatabase(ctx, o, options)
	if err != nil {
		return openError(err, k.file)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done, err := db.Rekey(ctx, forget)
	if errors.Is(err, store.ErrSealed) {
		return fmt.Errorf("%w\nnothing was changed; add that key to those given, or delete these secrets by --forget", err)
	}
	if err != nil {
		return err
	}
	if err := db.Audit(ctx, "strata admin", "rekey", string(done.Key), fmt.Sprintf("%d sealed, %d forgotten", done.Sealed, len(done.Forgotten))); err != nil {
		return err
	}
	for _, secret := range done.Forgotten {
		a.say("deleted, since no key opens it: %s", secret)
	}
	a.say("%d secrets sealed with key %s", done.Sealed, done.Key)
	return nil
}

// warnOfLostSecrets tells of secrets that an instance sealed with a key that isn't given any
// more: the server works, but for what needs them.
func warnOfLostSecrets(ctx context.Context, db *store.DB, log *slog.Logger) error {
	lost, err := db.LostSecrets(ctx)
	for _, secret := range lost {
		log.Error("a secret was sealed with a key that isn't given: give it after the first one, or the secret anew", "secret", secret)
	}
	return err
}
