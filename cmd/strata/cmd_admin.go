package main

import "github.com/spf13/cobra"

func newAdminCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Look after the database of a server",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAdminBackupCommand(a), newAdminRestoreCommand(a), newAdminMigrateCommand(a), newAdminRetentionCommand(a), newAdminRekeyCommand(a), newAdminUserCommand(a))
	return cmd
}
