package analyzer

import "testing"

func TestCRANPackage(t *testing.T) {
	const path = "usr/lib/R/site-library/x/DESCRIPTION"
	runCases(t, cranPackage{}, "cran", []analyzerCase{
		{"installed", path, "Package: x\nVersion: 1.2-3\nLicense: GPL-2\nBuilt: R 4.2.2; ; 2023-01-01; unix\n", []string{"x 1.2-3"}, ""},
		{"a source", path, "Package: x\nVersion: 1.2-3\n", nil, ""},
		{"something else of that name", path, "this is text\n", nil, ""},
	})
	runCases(t, cranPackage{}, "bioconductor", []analyzerCase{
		{"Bioconductor", path, "Package: x\nVersion: 1.2\nbiocViews: Software\nBuilt: R 4\n", []string{"x 1.2"}, ""},
	})
}

func TestLuaRock(t *testing.T) {
	runCases(t, luaRock{}, "luarocks", []analyzerCase{
		{"installed", "usr/lib/luarocks/rocks-5.1/lua-cjson/2.1.0-1/lua-cjson-2.1.0-1.rockspec", "", []string{"lua-cjson 2.1.0-1"}, ""},
		{"not installed", "src/lua-cjson-2.1.0-1.rockspec", "", nil, ""},
	})
}

func TestPortage(t *testing.T) {
	runCases(t, portagePackage{}, "ebuild", []analyzerCase{
		{"plain", "var/db/pkg/dev-libs/openssl-3.0.1/PF", "openssl-3.0.1\n", []string{"dev-libs/openssl 3.0.1"}, ""},
		{"revision, digits in the name", "var/db/pkg/x11-libs/gtk-3-x/PF", "gtk-3d-2.0_p1-r4", []string{"x11-libs/gtk-3d 2.0_p1-r4"}, ""},
		{"deeper", "var/db/pkg/a/b/c/PF", "b-1", nil, ""},
		{"nonsense", "var/db/pkg/a/b/PF", "b", nil, "no name and version"},
	})
}
