package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"strata/internal/auth"
	"strata/internal/store"
)

// databaseFlags say where the database of a server is.
type databaseFlags struct{ database, dataDir string }

func (o *databaseFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&o.database, "database", "", "`URL` postgres://…, or path of an SQLite file (default strata.db in the data folder)")
	f.StringVar(&o.dataDir, "data-dir", "", "`FOLDER` of database, key and advisories (default strata in the user's data folder)")
}

// location is where the database is.
func (o *databaseFlags) location(a *app) (string, error) {
	if o.database != "" {
		return o.database, nil
	}
	dir, err := a.dataDir(o.dataDir)
	return filepath.Join(dir, "strata.db"), err
}

func newAdminUserCommand(a *app) *cobra.Command {
	var o databaseFlags
	var reset bool
	cmd := &cobra.Command{
		Use:   "user NAME --reset",
		Short: "Give a user another password, or make an administrator",
		Long: `Give a user of the server a new password, which is printed once, and end all its
sessions. A user who was disabled is not any more; one that isn't there is made, as
an administrator. It needs the database, not the server: who can write to it
administers it.`,
		Example: `  strata admin user admin --reset`,
		Args:    oneArgument("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !reset {
				return errors.New("say --reset to give the user a new password")
			}
			return a.resetUser(cmd.Context(), &o, args[0])
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&reset, "reset", false, "give it a new password")
	return cmd
}

func (a *app) resetUser(ctx context.Context, o *databaseFlags, name string) (err error) {
	location, err := o.location(a)
	if err != nil {
		return err
	}
	db, err := store.OpenDB(ctx, location, store.DBOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	password := rand.Text()
	u, err := db.UserNamed(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		u = &store.User{Name: name, Password: auth.HashPassword(password), Grants: []store.Grant{{Role: string(auth.Administrator), Repository: "**"}}}
		_, err = db.CreateUser(ctx, u)
	case err == nil && u.Subject != "":
		return fmt.Errorf("user %q logs in with the OpenID provider, and has no password", name)
	case err == nil:
		u.Password, u.Disabled = auth.HashPassword(password), false
		err = db.UpdateUser(ctx, u)
	}
	if err != nil {
		return err
	}
	if err := db.Audit(ctx, "strata admin", "reset-user", name, ""); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", password)
	return err
}
