package main

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"strata/internal/imagetest"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts' golden sections")

// TestMain lets the scripts run the command: the test binary is strata when a
// script calls it by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"strata": main})
}

// TestScripts runs testdata/script/*.txtar. Beside the commands of testscript,
// scripts have the folder world (see its README) and the commands mkimage,
// registry, mkmirror, mkdb, damage, code, dates, submitserver and sent (see there).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               scriptEnvironment,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"mkimage":  mkimage,
			"registry": registry,
			"mkmirror": mkmirror,
			"mkdb":     mkdb,
			"damage":   damage,
			"code":     code,

			"action":       action,
			"gitlabjob":    gitlabjob,
			"jenkinsstage": jenkinsstage,
			"dates":        dates,

			"submitserver": submitserver,
			"sent":         sent,
		},
	})
}

// scriptEnvironment keeps a script from the settings, caches and credentials of
// whoever runs it.
func scriptEnvironment(env *testscript.Env) error {
	for name, dir := range map[string]string{
		"HOME": "home", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data", "DOCKER_CONFIG": "docker",
	} {
		env.Setenv(name, filepath.Join(env.WorkDir, ".user", dir))
	}
	env.Setenv("TZ", "UTC")
	// No script may depend on what engines run on the machine.
	for _, name := range []string{"DOCKER_HOST", "CONTAINER_HOST"} {
		env.Setenv(name, "unix://"+filepath.Join(env.WorkDir, ".user", "no.sock"))
	}
	return os.CopyFS(filepath.Join(env.WorkDir, "world"), os.DirFS("testdata/world"))
}

// mkimage [-f FORMAT] PATH FILE... builds the images that the files picture (see
// imagetest.Parse) and writes them at PATH as oci-archive (the default),
// docker-archive or oci (a layout). A file within the script has each line
// preceded by >, so that its sections aren't the script's.
func mkimage(ts *testscript.TestScript, neg bool, args []string) {
	format := imagetest.OCIArchive
	if len(args) > 1 && args[0] == "-f" {
		format, args = imagetest.Format(args[1]), args[2:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mkimage [-f oci-archive|docker-archive|oci] PATH FILE...")
	}
	ts.Check(imagetest.WriteFile(ts.MkAbs(args[0]), format, images(ts, args[1:])...))
}

// registry FILE... serves the images that the files picture, each under its
// name, until the end of the script, and sets $REGISTRY to the host and port.
func registry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry FILE...")
	}
	var r imagetest.Registry
	r.Add(images(ts, args)...)
	server := httptest.NewServer(&r)
	ts.Defer(server.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
}

// images builds what the files picture.
func images(ts *testscript.TestScript, files []string) []*imagetest.Image {
	var built []*imagetest.Image
	for _, f := range files {
		spec, err := imagetest.Parse(unquote([]byte(ts.ReadFile(f))))
		ts.Check(err)
		m, err := spec.Build()
		ts.Check(err)
		built = append(built, m)
	}
	return built
}

// unquote takes the leading > off every line, where every line has one.
func unquote(text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i, line := range lines {
		rest, quoted := bytes.CutPrefix(line, []byte(">"))
		if !quoted && len(line) > 0 {
			return text
		}
		lines[i] = rest
	}
	return bytes.Join(lines, nil)
}
