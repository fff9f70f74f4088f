package analyzer

import (
	"strings"
	"testing"
)

func TestTOMLLock(t *testing.T) {
	runCases(t, tomlLock{}, "pypi", []analyzerCase{
		{"poetry", "app/poetry.lock", "[[package]]\nname = \"a\"\nversion = \"1.0\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0\"\ngroups = [\"dev\"]\n", []string{"a 1.0"}, ""},
		{"pdm", "app/pdm.lock", "[[package]]\nname = \"a\"\nversion = \"1.0\"\ngroups = [\"default\"]\n\n[[package]]\nname = \"b\"\nversion = \"2.0\"\ngroups = [\"dev\"]\n", []string{"a 1.0"}, ""},
		{"uv", "app/uv.lock", "version = 1\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nsource = { registry = \"https://r.invalid\" }\n\n[[package]]\nname = \"me\"\nversion = \"0\"\nsource = { virtual = \".\" }\n", []string{"a 1.0"}, ""},
		{"pylock", "app/pylock.toml", "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nversion = \"1.0\"\n", []string{"a 1.0"}, ""},
		{"poetry before 1.5", "app/poetry.lock", "[[package]]\nname = \"a\"\nversion = \"1.0\"\ncategory = \"main\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0\"\ncategory = \"dev\"\n", []string{"a 1.0"}, ""},
		{"other tables, lists, comments", "app/poetry.lock", "[[package]]\nname = \"a\" # not b\nversion = 'x1.0'\nfiles = [\n  name = \"no\"\n]\n[package.dependencies]\nname = \"no\"\nversion = \"9\"\n[metadata]\nversion = \"9\"\n", []string{"a x1.0"}, ""},
		{"one line for groups of two kinds", "app/poetry.lock", "[[package]]\r\nname=\"a\"\r\nversion=\"1\"\r\ngroups = [\"dev\", \"main\"]\r\n", []string{"a 1"}, ""},
		{"a long dotted key", "app/poetry.lock", strings.Repeat("a.", 1_000_000) + "a = 1", nil, ""},
	})
	runCases(t, tomlLock{}, "cargo", []analyzerCase{
		{"cargo", "app/Cargo.lock", "version = 3\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://r.invalid\"\ndependencies = [\n \"b\",\n]\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n", []string{"a 1.0.0", "b 2.0.0"}, ""},
		{"a name that is no string", "app/Cargo.lock", "[[package]]\nname = 7\nversion = \"1\"\n[[package]]\nname = \"\nversion = '\n", nil, ""},
		{"deep", "app/Cargo.lock", "a = " + strings.Repeat("[", 1_000_000), nil, ""},
		{"a long dotted table", "app/Cargo.lock", "[" + strings.Repeat("a.", 1_000_000) + "a]\n", nil, ""},
		{"not text", "app/Cargo.lock", "\x00\xff=\n[[package]]\n=\n", nil, ""},
	})
}

func FuzzTOMLLock(f *testing.F) {
	f.Add([]byte("[[package]]\nname = \"a\"\nversion = '1'\ngroups = [\"dev\"]\nsource = { virtual = \".\" }\n"))
	f.Add([]byte("[[package]]\nfiles = [\n]\nname=\"\\u0041\"\nversion=\"\\\"\""))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := tomlLock{}.Analyze(t.Context(), NewFile("app/Cargo.lock", b))
		if err != nil {
			t.Fatal(err)
		}
		requireNamed(t, res)
	})
}
