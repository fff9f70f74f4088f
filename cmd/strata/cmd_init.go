package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// ciFiles are the integrations, as they ship and as `strata init --ci` writes them.
//
//go:embed ci
var ciFiles embed.FS

// A ciFile is a file of an integration: where it is here, and where it goes.
type ciFile struct{ from, to string }

// A ciSystem is an integration by the name that --ci takes, with what is to be
// done after its files are there.
type ciSystem struct {
	name  string
	files []ciFile
	next  string
}

var ciSystems = []ciSystem{
	{"github", []ciFile{
		{"ci/github/action.yml", ".github/actions/strata/action.yml"},
		{"ci/github/workflow.yml", ".github/workflows/strata.yml"},
	}, "see that the workflow builds your image, and has strata on its PATH; then commit both files"},
	{"gitlab", []ciFile{
		{"ci/gitlab/strata.gitlab-ci.yml", "strata.gitlab-ci.yml"},
	}, "add to .gitlab-ci.yml: include: [{local: strata.gitlab-ci.yml}]; set the variables CS_IMAGE and STRATA_IMAGE"},
	{"jenkins", []ciFile{
		{"ci/jenkins/Jenkinsfile", "Jenkinsfile.strata"},
	}, "copy its stage into your Jenkinsfile, or make a pipeline of it"},
	{"pre-push", []ciFile{
		{"ci/hooks/pre-push", "pre-push"},
	}, "git config strata.image docker:app:dev tells the hook what to scan; strata.build what builds it"},
}

// initOptions are the flags of init.
type initOptions struct {
	ci    []string
	force bool
}

func newInitCommand(a *app) *cobra.Command {
	o := &initOptions{}
	var names []string
	for _, s := range ciSystems {
		names = append(names, s.name)
	}
	cmd := &cobra.Command{
		Use:   "init [flags]",
		Short: "Write a commented strata.yaml, and files for a CI system",
		Example: `  strata init                     strata.yaml in the working directory
  strata init --ci github         a composite action, and a workflow with it
  strata init --ci gitlab --ci pre-push`,
		Long: `Write strata.yaml into the working directory: every setting, with its default and
what it does, all of them commented out. With --ci, write the files of a CI system
too. A file that is there already is left as it is, unless --force is given.`,
		Args: cobra.NoArgs,
		// Settings may be what is to be written anew.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context(), cmd.Root(), o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.ci, "ci", nil, "write the files for a `SYSTEM` too: "+strings.Join(names, ", ")+"; may be given several times")
	f.BoolVar(&o.force, "force", false, "overwrite files that are there")
	return cmd
}

// init runs the command. Files that were there and asked for by name are an error,
// after all others have been written.
func (a *app) init(ctx context.Context, root *cobra.Command, o *initOptions) error {
	for _, name := range o.ci {
		if !slices.ContainsFunc(ciSystems, func(s ciSystem) bool { return s.name == name }) {
			return fmt.Errorf("--ci %s: want github, gitlab, jenkins or pre-push", name)
		}
	}
	if slices.Contains(o.ci, "pre-push") {
		if _, err := hooksPath(ctx, "pre-push"); err != nil {
			return err
		}
	}
	return errors.Join(a.initSettings(root, o), a.initSystems(ctx, o))
}

func (a *app) initSettings(root *cobra.Command, o *initOptions) error {
	err := a.place(settingsFile, []byte(settingsTemplate(root)), 0o644, o.force)
	switch {
	case errors.Is(err, fs.ErrExist) && len(o.ci) > 0:
		fmt.Fprintf(a.stdout, "%s is there already, and was left as it is\n", settingsFile)
		return nil
	case err != nil:
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s: every setting, commented out\n  next: take the # off those that you want to change\n", settingsFile)
	return nil
}

func (a *app) initSystems(ctx context.Context, o *initOptions) error {
	var failed []error
	for _, s := range ciSystems {
		if !slices.Contains(o.ci, s.name) {
			continue
		}
		wrote := false
		for _, f := range s.files {
			err := a.placeCI(ctx, f, o.force)
			failed = append(failed, err)
			wrote = wrote || err == nil
		}
		if wrote {
			fmt.Fprintf(a.stdout, "  next: %s\n", s.next)
		}
	}
	return errors.Join(failed...)
}

func (a *app) placeCI(ctx context.Context, f ciFile, force bool) error {
	content, err := ciFiles.ReadFile(f.from)
	if err != nil {
		return err
	}
	to, mode := f.to, fs.FileMode(0o644)
	if f.to == "pre-push" {
		mode = 0o755
		if to, err = hooksPath(ctx, f.to); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := a.place(to, content, mode, force); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s\n", to)
	return nil
}

// hooksPath is where git looks for a hook of the repository.
func hooksPath(ctx context.Context, hook string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--git-path", "hooks/"+hook).Output()
	if err != nil {
		return "", errors.New("--ci pre-push: the working directory is no git repository, or git is not installed")
	}
	return strings.TrimRight(string(out), "\r\n"), nil
}

// place writes a file that must not be there yet, unless it is forced.
func (a *app) place(path string, content []byte, mode fs.FileMode, force bool) (err error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w; --force overwrites it", path, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Chmod(mode) // also of one that was there
}
