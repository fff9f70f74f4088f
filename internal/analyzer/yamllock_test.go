package analyzer

import (
	"strings"
	"testing"
)

func TestYAMLLock(t *testing.T) {
	const pnpm = "app/pnpm-lock.yaml"
	runCases(t, yamlLock{}, "npm", []analyzerCase{
		{"pnpm 5", pnpm, "lockfileVersion: 5.4\n\nspecifiers:\n  a: ^1\n\npackages:\n\n  /a/1.0.0:\n    resolution: {integrity: x}\n    dev: false\n\n  /@s/b/2.0.0_@babel+core@7.0.0:\n    dependencies:\n      version: 9\n\n  /c/3.0.0:\n    dev: true\n", []string{"@s/b 2.0.0", "a 1.0.0"}, ""},
		{"pnpm 6", pnpm, "lockfileVersion: '6.0'\npackages:\n  /a_b@1.0.0:\n    dev: false\n  /@s/b@2.0.0(react@18.0.0):\n    dev: false\n  /c@3.0.0:\n    dev: true\n", []string{"@s/b 2.0.0", "a_b 1.0.0"}, ""},
		{"pnpm 9", pnpm, "lockfileVersion: '9.0'\r\nimporters:\r\n  .:\r\n    dependencies:\r\n      a: 1\r\npackages:\r\n  '@s/b@2.0.0':\r\n    resolution: {integrity: x}\r\n  a@1.0.0:\r\n    resolution: {integrity: x}\r\nsnapshots:\r\n  z@1.0.0: {}\r\n", []string{"@s/b 2.0.0", "a 1.0.0"}, ""},
		{"from elsewhere", pnpm, "lockfileVersion: '6.0'\npackages:\n  github.com/x/y/00aa:\n    name: y\n    version: 1.0.0\n  file:z:\n    resolution: {directory: z}\n", []string{"y 1.0.0"}, ""},
		{"nothing but quotes", pnpm, "packages:\n  '\n  \"a\":\n  ':\n", nil, ""},
		{"deep", pnpm, "packages: " + strings.Repeat("[", 1_000_000), nil, ""},
		{"aliases", pnpm, "a0: &a0 [x]\na1: &a1 [*a0,*a0]\npackages: *a1\n", nil, ""},
	})
	runCases(t, yamlLock{}, "pub", []analyzerCase{
		{"dart", "app/pubspec.lock", "# by pub\npackages:\n  a:\n    dependency: \"direct main\"\n    description:\n      name: a\n      version: no\n    version: \"1.0.0\"\n  b:\n    dependency: \"direct dev\"\n    version: \"2.0.0\"\nsdks:\n  dart: \">=2\"\n", []string{"a 1.0.0"}, ""},
	})
}

func FuzzYAMLLock(f *testing.F) {
	f.Add([]byte("lockfileVersion: 5.4\npackages:\n  /@s/b/2.0.0_x:\n    dev: true\n"))
	f.Add([]byte("packages:\n  'a@1(b)':\n    version: \"1\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, path := range []string{"pnpm-lock.yaml", "pubspec.lock"} {
			res, err := yamlLock{}.Analyze(t.Context(), NewFile(path, b))
			if err != nil {
				t.Fatal(err)
			}
			requireNamed(t, res)
		}
	})
}
