package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
)

// A compositeAction is what the tests read of action.yml.
type compositeAction struct {
	Inputs map[string]struct {
		Description string
		Required    bool
		Default     string
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []actionStep
	}
}

type actionStep struct {
	Name, ID, If, Uses, Shell, Run string
	Env, With                      map[string]string
}

func readAction() (a compositeAction, err error) {
	b, err := ciFiles.ReadFile("ci/github/action.yml")
	if err == nil {
		err = yaml.Unmarshal(b, &a)
	}
	return a, err
}

// expression is the one form in which the action uses GitHub's expressions.
var expression = regexp.MustCompile(`^\$\{\{ (inputs|steps\.scan\.outputs)\.([a-z-]+) \}\}$`)

// TestActionTakesInputsFromTheEnvironment: no value becomes part of a script, all
// inputs are used, and nothing is used that is no input.
func TestActionTakesInputsFromTheEnvironment(t *testing.T) {
	a, err := readAction()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, s := range a.Runs.Steps {
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %s: an expression in the script: pass it by env", s.Name)
		}
		for name, value := range s.Env {
			m := expression.FindStringSubmatch(value)
			if m == nil {
				t.Errorf("step %s: env %s is %q", s.Name, name, value)
				continue
			}
			if m[1] == "inputs" {
				used[m[2]] = true
			}
			if !strings.Contains(s.Run, name) {
				t.Errorf("step %s: nothing uses %s", s.Name, name)
			}
			if strings.HasPrefix(name, "STRATA_") || strings.HasPrefix(name, "GITHUB_") {
				t.Errorf("step %s: %s means something else", s.Name, name)
			}
		}
		for _, m := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(s.If, -1) {
			used[m[1]] = true
		}
		if (s.Run == "") == (s.Uses == "") || s.Run != "" && s.Shell != "bash" {
			t.Errorf("step %s: want a script for bash, or an action", s.Name)
		}
		if s.Uses != "" && !regexp.MustCompile(`^[a-z-]+/[a-z/-]+@v\d+$`).MatchString(s.Uses) {
			t.Errorf("step %s uses %q", s.Name, s.Uses)
		}
	}
	for name, in := range a.Inputs {
		if !used[name] || in.Description == "" {
			t.Errorf("input %s is not used, or not described", name)
		}
	}
	for name := range used {
		if _, ok := a.Inputs[name]; !ok {
			t.Errorf("%s is no input", name)
		}
	}
}

// TestWorkflowUsesTheAction: what `strata init` writes goes together.
func TestWorkflowUsesTheAction(t *testing.T) {
	b, err := ciFiles.ReadFile("ci/github/workflow.yml")
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Jobs map[string]struct{ Steps []actionStep }
	}
	if err := yaml.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	a, err := readAction()
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	for _, job := range w.Jobs {
		for _, s := range job.Steps {
			if s.Uses != "./.github/actions/strata" {
				continue
			}
			found = true
			for name := range s.With {
				if _, ok := a.Inputs[name]; !ok {
					t.Errorf("the workflow gives %s, which is no input", name)
				}
			}
		}
	}
	if !found {
		t.Error("the workflow does not use the action")
	}
	if ciSystems[0].files[0].to != ".github/actions/strata/action.yml" {
		t.Errorf("the action goes to %s", ciSystems[0].files[0].to)
	}
}

// action INPUT=VALUE... runs the composite action's own scripts as a runner does,
// with VALUE from a file where it is @FILE. What they print is in action.log, what
// they tell the runner in action.output and action.summary. Actions of others are
// only noted in the log, when their condition holds.
func action(ts *testscript.TestScript, neg bool, args []string) {
	a, err := readAction()
	ts.Check(err)
	inputs := map[string]string{}
	for name, in := range a.Inputs {
		inputs[name] = in.Default
	}
	for name, value := range values(ts, args) {
		if _, ok := inputs[name]; !ok {
			ts.Fatalf("%s is no input", name)
		}
		inputs[name] = value
	}
	output, summary := ts.MkAbs("action.output"), ts.MkAbs("action.summary")
	for _, file := range []string{output, summary} {
		ts.Check(os.WriteFile(file, nil, 0o644))
	}
	var log bytes.Buffer
	var failed error
	for _, s := range a.Runs.Steps {
		outputs := readOutputs(ts, output)
		if !condition(ts, s.If, inputs, outputs) {
			continue
		}
		if s.Uses != "" {
			fmt.Fprintf(&log, "uses %s\n", s.Uses)
			continue
		}
		env := []string{"GITHUB_OUTPUT=" + output, "GITHUB_STEP_SUMMARY=" + summary, "GITHUB_ACTIONS=true"}
		for name, value := range s.Env {
			m := expression.FindStringSubmatch(value)
			from := inputs
			if m[1] != "inputs" {
				from = outputs
			}
			env = append(env, name+"="+from[m[2]])
		}
		// As GitHub runs it: bash --noprofile --norc -eo pipefail {0}.
		if failed = shell(ts, &log, env, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run); failed != nil {
			break
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs("action.log"), log.Bytes(), 0o644))
	outcome(ts, neg, failed, log.String())
}

// outcome compares how a script ended with what was wanted.
func outcome(ts *testscript.TestScript, neg bool, err error, log string) {
	if neg != (err != nil) {
		ts.Fatalf("ended with %v\n%s", err, log)
	}
}

// values reads NAME=VALUE and NAME=@FILE.
func values(ts *testscript.TestScript, args []string) map[string]string {
	out := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%s: want NAME=VALUE", arg)
		}
		if file, ok := strings.CutPrefix(value, "@"); ok {
			value = strings.TrimSuffix(ts.ReadFile(file), "\n")
		}
		out[name] = value
	}
	return out
}

// readOutputs reads what steps wrote to GITHUB_OUTPUT, as the runner does: name=value,
// one a line.
func readOutputs(ts *testscript.TestScript, path string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(ts.ReadFile(path)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			ts.Fatalf("output %q: want name=value", line)
		}
		if _, twice := out[name]; twice {
			ts.Fatalf("output %s is written twice", name)
		}
		out[name] = value
	}
	return out
}

// condition evaluates the conditions that the action has: comparisons, and &&.
func condition(ts *testscript.TestScript, cond string, inputs, outputs map[string]string) bool {
	if cond == "" {
		return true
	}
	body := strings.TrimSuffix(strings.TrimPrefix(cond, "${{ "), " }}")
	for term := range strings.SplitSeq(body, " && ") {
		m := regexp.MustCompile(`^(inputs|steps\.scan\.outputs)\.([a-z-]+) (==|!=) '([^']*)'$`).FindStringSubmatch(term)
		if m == nil {
			ts.Fatalf("condition %q is not understood", cond)
		}
		from := inputs
		if m[1] != "inputs" {
			from = outputs
		}
		if (from[m[2]] == m[4]) != (m[3] == "==") {
			return false
		}
	}
	return true
}

// shell runs a program in the script's world.
func shell(ts *testscript.TestScript, log *bytes.Buffer, env []string, name string, args ...string) error {
	path, err := exec.LookPath(name)
	ts.Check(err)
	cmd := exec.Command(path, args...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{
		"PATH", "HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "DOCKER_HOST", "CONTAINER_HOST", "TMPDIR", "STRATA_OFFLINE",
	} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Run()
}

// gitlabjob NAME=VALUE... runs the script of the GitLab template's job with these
// variables, and looks for the files that it promises. What it prints is in
// gitlab.log.
func gitlabjob(ts *testscript.TestScript, neg bool, args []string) {
	b, err := ciFiles.ReadFile("ci/gitlab/strata.gitlab-ci.yml")
	ts.Check(err)
	var doc struct {
		Variables map[string]string
		Strata    struct {
			Script    []string
			Variables map[string]string
			Artifacts struct {
				Paths   []string
				Reports map[string]string
			}
		}
	}
	ts.Check(yaml.Unmarshal(b, &doc))
	variables := maps.Clone(doc.Variables)
	maps.Copy(variables, doc.Strata.Variables)
	maps.Copy(variables, map[string]string{
		"CI_PROJECT_DIR": ts.MkAbs("."), "CI_REGISTRY": "registry.example", "CI_REGISTRY_IMAGE": "registry.example/shop/app", "CI_COMMIT_SHA": "0123",
		"CI_REGISTRY_USER": "job", "CI_REGISTRY_PASSWORD": "token",
	})
	given := values(ts, args)
	maps.Copy(variables, given)
	var env []string
	for name, value := range variables {
		if _, ok := given[name]; !ok {
			value = os.Expand(value, func(n string) string { return variables[n] })
		}
		env = append(env, name+"="+value)
	}
	var log bytes.Buffer
	failed := shell(ts, &log, env, "sh", "-e", "-c", strings.Join(doc.Strata.Script, "\n"))
	ts.Check(os.WriteFile(ts.MkAbs("gitlab.log"), log.Bytes(), 0o644))
	outcome(ts, neg, failed, log.String())
	for _, file := range slices.Concat(doc.Strata.Artifacts.Paths, slices.Collect(maps.Values(doc.Strata.Artifacts.Reports))) {
		if f, err := os.Stat(ts.MkAbs(file)); err != nil || f.Size() == 0 {
			ts.Fatalf("the job did not write %s\n%s", file, log.String())
		}
	}
}

// jenkinsstage NAME=VALUE... runs the shell script of the Jenkins stage. What it
// prints is in jenkins.log.
func jenkinsstage(ts *testscript.TestScript, neg bool, args []string) {
	b, err := ciFiles.ReadFile("ci/jenkins/Jenkinsfile")
	ts.Check(err)
	// Three single quotes: Groovy puts nothing into such a text.
	script := regexp.MustCompile(`(?s)script: '''(.*?)'''`).FindSubmatch(b)
	if script == nil {
		ts.Fatalf("no script in the Jenkinsfile")
	}
	var env []string
	for name, value := range values(ts, args) {
		env = append(env, name+"="+value)
	}
	var log bytes.Buffer
	failed := shell(ts, &log, env, "sh", "-c", string(script[1]))
	ts.Check(os.WriteFile(ts.MkAbs("jenkins.log"), log.Bytes(), 0o644))
	outcome(ts, neg, failed, log.String())
}

// TestJenkinsfile: what the stage reads is what its script writes, and brackets
// pair; Groovy itself is only asked by hand.
func TestJenkinsfile(t *testing.T) {
	b, err := ciFiles.ReadFile("ci/jenkins/Jenkinsfile")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, file := range []string{"strata-report/strata.sarif", "strata-report/junit.xml"} {
		if strings.Count(text, file) != 2 {
			t.Errorf("%s is not both written and read", file)
		}
	}
	for _, pair := range []string{"{}", "()", "[]"} {
		if a, b := strings.Count(text, pair[:1]), strings.Count(text, pair[1:]); a != b {
			t.Errorf("%d of %s and %d of %s", a, pair[:1], b, pair[1:])
		}
	}
	if strings.Contains(text, `"""`) || regexp.MustCompile(`sh[ (]"`).MatchString(text) {
		t.Error("Groovy would put values into the script")
	}
}

// TestInitFilesAreAllThere: each file that ships is written by some --ci.
func TestInitFilesAreAllThere(t *testing.T) {
	var written []string
	for _, s := range ciSystems {
		for _, f := range s.files {
			written = append(written, f.from)
		}
	}
	shipped, err := filepath.Glob("ci/*/*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(written)
	if !slices.Equal(written, shipped) {
		t.Errorf("written %v, shipped %v", written, shipped)
	}
}
