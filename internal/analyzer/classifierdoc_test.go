package analyzer

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"strata/internal/inventory"
)

var update = flag.Bool("update", false, "rewrite docs/programs.md")

const programsHead = `# Programs that are known by their content

Besides what package managers list, ` + "`strata scan`" + ` finds these products by their own files, wherever these lie. They
are packages of the type ` + "`generic`" + `. What a package of the distribution owns is set aside, as the distribution patches it.

Bitnami's images (` + "`/opt/bitnami`" + `) are read by the lists that they have of their components. Java runtimes are named by
who built them: Temurin, Corretto, Zulu, Liberica, SapMachine, Semeru, GraalVM or OpenJDK.

"Tried on" is on which real file the row was tried: *real* on Debian's package by a test, *by hand* once. The test is
TestRealClassifiers; this page is written by ` + "`go test ./internal/analyzer -run TestProgramsDocument -update`" + `.

| product | known by | advisories | tried on |
|---|---|---|---|
`

// TestProgramsDocument: the document lists the tables as they are.
func TestProgramsDocument(t *testing.T) {
	type row struct{ product, by, advisories, tested string }
	advisories := func(bitnami string, others []inventory.KnownAs) string {
		var names []string
		if bitnami != "" {
			names = append(names, ecosystemBitnami+" `"+bitnami+"`")
		}
		for _, k := range others {
			names = append(names, k.Ecosystem+" `"+k.Name+"`")
		}
		return cmp.Or(strings.Join(names, ", "), "none")
	}
	quoted := func(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }
	rows := []row{
		{"tomcat", "`catalina.jar`", advisories("tomcat", []inventory.KnownAs{{Ecosystem: ecosystemMaven, Name: "org.apache.tomcat:tomcat"}}), realHand + "libtomcat10-java"},
		{"openjdk and its builds", "`release`", advisories("java", nil), realHand + "openjdk-17-jre-headless"},
	}
	for _, c := range classifiers() {
		rows = append(rows, row{c.product, quoted(c.files), advisories(c.bitnami, c.others), c.tested})
	}
	for _, c := range textClassifiers() {
		rows = append(rows, row{c.product, quoted([]string{c.file}), advisories(c.bitnami, c.others), c.tested})
	}
	for _, g := range goProducts() {
		rows = append(rows, row{g.product, "main package " + quoted(g.commands), advisories(g.bitnami, []inventory.KnownAs{{Ecosystem: ecosystemGo, Name: "its module"}}), g.tested})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.product, b.product) })
	var b strings.Builder
	b.WriteString(programsHead)
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.product, r.by, r.advisories, strings.ReplaceAll(r.tested, "; ", "<br>"))
	}
	path := filepath.Join("..", "..", "docs", "programs.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := gocmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/programs.md is not what the tables say (-tables +document; -update rewrites it):\n%s", diff)
	}
}
