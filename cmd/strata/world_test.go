package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"strata/internal/advisory"
	"strata/internal/store"
)

// mkmirror DIR RECORDS makes at DIR a mirror with the layout of OSV's bulk
// export of RECORDS/<Ecosystem>/<ID>.json. What DIR held before is gone.
func mkmirror(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkmirror DIR RECORDS")
	}
	ts.Check(writeMirror(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

func writeMirror(dir, records string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	ecosystems, err := os.ReadDir(records)
	if err != nil {
		return err
	}
	var names, modified []string
	for _, e := range ecosystems {
		of, err := writeEcosystem(filepath.Join(dir, e.Name()), filepath.Join(records, e.Name()))
		if err != nil {
			return err
		}
		names = append(names, e.Name())
		for _, line := range of {
			stamp, id, _ := strings.Cut(line, ",")
			modified = append(modified, stamp+","+e.Name()+"/"+id)
		}
	}
	return errors.Join(
		writeLines(filepath.Join(dir, "ecosystems.txt"), names),
		writeLines(filepath.Join(dir, "modified_id.csv"), newestFirst(modified)))
}

// writeEcosystem writes all.zip and modified_id.csv, and returns the latter's lines.
func writeEcosystem(dir, records string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(records, "*.json"))
	if err != nil {
		return nil, err
	}
	var zipped bytes.Buffer
	archive := zip.NewWriter(&zipped)
	var modified []string
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var record struct{ ID, Modified string }
		if err := json.Unmarshal(b, &record); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		modified = append(modified, record.Modified+","+record.ID)
		w, err := archive.Create(record.ID + ".json")
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
	}
	modified = newestFirst(modified)
	return modified, errors.Join(
		archive.Close(),
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "all.zip"), zipped.Bytes(), 0o644),
		writeLines(filepath.Join(dir, "modified_id.csv"), modified))
}

func newestFirst(lines []string) []string {
	slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(b, a) })
	return lines
}

func writeLines(path string, lines []string) error {
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

// mkdb AGE RECORDS makes the advisory database of the script's user as an update
// from a mirror of RECORDS so long ago would have left it.
func mkdb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkdb AGE RECORDS")
	}
	age, err := time.ParseDuration(args[0])
	ts.Check(err)
	dir := ts.MkAbs("mirror-of-mkdb")
	ts.Check(writeMirror(dir, ts.MkAbs(args[1])))
	defer func() { ts.Check(os.RemoveAll(dir)) }()
	mirror, err := advisory.OpenMirror(dir, advisory.MirrorOptions{})
	ts.Check(err)
	path := filepath.Join(ts.Getenv("XDG_CACHE_HOME"), "strata", advisoriesFile)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	_, err = store.UpdateAdvisories(context.Background(), path, mirror, store.UpdateOptions{
		Ecosystems: []string{"all"}, Now: func() time.Time { return time.Now().Add(-age) },
	})
	ts.Check(err)
}

// damage HOW LAYOUT damages the largest blob of an OCI layout: cut takes the
// second half of it off, flip changes a byte in its middle, remove removes it.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage cut|flip|remove LAYOUT")
	}
	blob, err := largestFile(filepath.Join(ts.MkAbs(args[1]), "blobs"))
	ts.Check(err)
	b, err := os.ReadFile(blob)
	ts.Check(err)
	switch args[0] {
	case "cut":
		ts.Check(os.WriteFile(blob, b[:len(b)/2], 0o644))
	case "flip":
		b[len(b)/2] ^= 0xff
		ts.Check(os.WriteFile(blob, b, 0o644))
	case "remove":
		ts.Check(os.Remove(blob))
	default:
		ts.Fatalf("damage %s: want cut, flip or remove", args[0])
	}
}

func largestFile(dir string) (path string, err error) {
	var size int64
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := d.Info()
		if err == nil && f.Size() > size {
			path, size = p, f.Size()
		}
		return err
	})
	return path, err
}

// code N COMMAND... runs a command as exec does, and wants N as its exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND ARG...")
	}
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d; want %s", got, args[0])
	}
}

// dates FILE... writes the day in so many days for each @+Nd@ in the files, and
// the one so many days ago for @-Nd@.
func dates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: dates FILE...")
	}
	mark := regexp.MustCompile(`@([+-]\d+)d@`)
	for _, file := range args {
		text := mark.ReplaceAllStringFunc(ts.ReadFile(file), func(m string) string {
			days, err := strconv.Atoi(mark.FindStringSubmatch(m)[1])
			ts.Check(err)
			return time.Now().UTC().AddDate(0, 0, days).Format(time.DateOnly)
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
	}
}
