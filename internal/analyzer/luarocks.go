package analyzer

import (
	"context"
	"strings"

	"strata/internal/inventory"
)

// luaRock tells installed Lua rocks by the place of their rockspec:
// lib/luarocks/rocks-5.1/NAME/VERSION/NAME-VERSION.rockspec (luarocks.org,
// "File locations"). OSV has no LuaRocks ecosystem.
type luaRock struct{}

func (luaRock) Name() string { return "luarocks" }

func (luaRock) Wants(c *Candidate) bool {
	if !strings.HasSuffix(c.Path, ".rockspec") {
		return false
	}
	_, _, ok := rockAt(c.Path)
	return ok
}

func (luaRock) Analyze(_ context.Context, f *File) (Result, error) {
	name, version, ok := rockAt(f.Path)
	if !ok {
		return Result{}, nil
	}
	return Result{Packages: []inventory.Package{{Type: "luarocks", Name: name, Version: version}}}, nil
}

// rockAt splits the path of an installed rockspec.
func rockAt(p string) (name, version string, ok bool) {
	parts := strings.Split(p, "/")
	n := len(parts)
	if n < 4 || !strings.HasPrefix(parts[n-4], "rocks") {
		return "", "", false
	}
	name, version = parts[n-3], parts[n-2]
	return name, version, parts[n-1] == name+"-"+version+".rockspec"
}
