package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"strata/internal/policy"
)

// waivers are those of the files that were given, and of those that lie in the
// working directory. These are told of: they may come with a checkout that is
// not the user's own.
func (a *app) waivers(o *policyOptions) ([]*policy.Waivers, error) {
	var all []*policy.Waivers
	read := func(path string, found bool, parse func(string, []byte) (*policy.Waivers, error)) error {
		text, err := readBounded(path, policy.MaxFile)
		if found && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := parse(path, text)
		if err != nil {
			return err
		}
		if found && w.Len() > 0 {
			a.say("%s of %s in force", counted(w.Len(), "waiver"), path)
		}
		all = append(all, w)
		return nil
	}
	given := o.waivers
	if len(given) == 0 && !o.noIgnores {
		if err := read(policy.WaiversFile, true, policy.ParseWaivers); err != nil {
			return nil, err
		}
	}
	for _, path := range given {
		if err := read(path, false, policy.ParseWaivers); err != nil {
			return nil, fmt.Errorf("--waivers: %w", err)
		}
	}
	if len(o.ignores) == 0 && !o.noIgnores {
		for _, path := range policy.IgnoreFiles() {
			if err := read(path, true, policy.ParseIgnoreFile); err != nil {
				return nil, err
			}
		}
	}
	for _, path := range o.ignores {
		if err := read(path, false, policy.ParseIgnoreFile); err != nil {
			return nil, fmt.Errorf("--ignore-file: %w", err)
		}
	}
	return all, nil
}

const (
	// maxVEXFiles is how many documents a folder has at most.
	maxVEXFiles = 10_000
	// maxVEXBytes is how much all documents have together.
	maxVEXBytes = 512 << 20
)

// readVEX reads documents, and folders of them with all that is below.
func (d *decider) readVEX(paths []string) error {
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("--vex: %w", err)
		}
		if st.IsDir() {
			if err := d.readVEXFolder(path); err != nil {
				return fmt.Errorf("--vex: %w", err)
			}
			continue
		}
		if err := d.readVEXFile(path); err != nil {
			return fmt.Errorf("--vex: %w", err)
		}
	}
	return nil
}

func (d *decider) readVEXFile(path string) error {
	text, err := readBounded(path, policy.MaxVEX)
	if err != nil {
		return err
	}
	v, err := policy.ParseVEX(path, text)
	if err != nil {
		return err
	}
	if d.vexBytes += int64(len(text)); d.vexBytes > maxVEXBytes {
		return fmt.Errorf("%s: the documents have more than %d MiB together", path, maxVEXBytes>>20)
	}
	d.vex = append(d.vex, v)
	return nil
}

// readVEXFolder reads the .json files of a folder. Those that are no VEX are
// remarked on: such folders also hold indexes and signatures.
func (d *decider) readVEXFolder(dir string) error {
	var files, other []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() && strings.HasSuffix(path, ".json") {
			files = append(files, path)
		}
		if len(files) > maxVEXFiles {
			return fmt.Errorf("%s: more than %d files", dir, maxVEXFiles)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		if err := d.readVEXFile(path); err != nil {
			if d.vexBytes > maxVEXBytes {
				return err
			}
			other = append(other, err.Error())
		}
	}
	if len(files) == len(other) {
		return errors.Join(append([]error{fmt.Errorf("%s: no VEX document in it", dir)}, firstErrors(other)...)...)
	}
	if len(other) > 0 {
		d.remarks = append(d.remarks, policy.Remark{By: policy.ByVEX, Message: fmt.Sprintf("%s of %s could not be read: %s", counted(len(other), "file"), dir, strings.Join(other[:min(len(other), 3)], "; "))})
	}
	return nil
}

func firstErrors(texts []string) []error {
	var errs []error
	for _, t := range texts[:min(len(texts), 3)] {
		errs = append(errs, errors.New(t))
	}
	return errs
}
