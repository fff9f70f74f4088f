package analyzer

import (
	"bytes"
	"compress/zlib"
	"errors"
	"strings"
	"testing"
)

// rustAudit is the content of a .dep-v0 section.
func rustAudit(t testing.TB, json string) string {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, err := z.Write([]byte(json))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRustBinary(t *testing.T) {
	const executable = 2
	section := func(content string) string { return string(elf64(executable, ".dep-v0", content)) }
	runCases(t, rustBinary{}, "cargo", []analyzerCase{
		{"auditable", "bin/x", section(rustAudit(t, `{"packages":[
			{"name":"adler","version":"0.2.3","source":"crates.io"},
			{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"},
			{"name":"","version":"1"},
			{"name":"tool","version":"0.1.0","source":"local","kind":"runtime","dependencies":[0],"root":true}]}`)),
			[]string{"adler 0.2.3", "tool 0.1.0"}, ""},
		{"without the section", "bin/x", string(elf64(executable, ".text", "code")), nil, ""},
		{"not compressed", "bin/x", section("hello"), nil, "section .dep-v0"},
		{"cut off", "bin/x", section(rustAudit(t, `{"packages":[]}`)[:6]), nil, "section .dep-v0"},
		{"not JSON", "bin/x", section(rustAudit(t, `x`)), nil, "section .dep-v0"},
		{"a bomb", "bin/x", section(rustAudit(t, strings.Repeat(" ", maxAuditSize+1))), nil, "larger than the limit"},
		{"damaged: the Go analyzer tells", "bin/x", section("x")[:100], nil, ""},
	})
}
