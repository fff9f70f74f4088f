package analyzer

import (
	"context"
	"maps"
	"slices"
	"strings"

	"strata/internal/inventory"
)

// dotnetDeps reads the *.deps.json of a published .NET application, and those
// that lie in each shared framework (shared/Microsoft.NETCore.App/8.0.1/), in
// which the runtime names itself as a package. dotnet/sdk,
// documentation/specs/runtime-configuration-file.md.
type dotnetDeps struct{}

func (dotnetDeps) Name() string { return "dotnet" }

func (dotnetDeps) Wants(c *Candidate) bool { return strings.HasSuffix(c.Path, ".deps.json") }

func (dotnetDeps) Analyze(_ context.Context, f *File) (Result, error) {
	var deps struct {
		Libraries map[string]struct {
			Type string `json:"type"`
		} `json:"libraries"`
	}
	if err := decodeJSON(f, maxLockSize, &deps); err != nil {
		return Result{}, err
	}
	var out []inventory.Package
	for _, key := range slices.Sorted(maps.Keys(deps.Libraries)) {
		name, version, ok := strings.Cut(key, "/")
		switch deps.Libraries[key].Type {
		case "package":
		case "runtimepack":
			// A self-contained application brings its runtime along.
			name = strings.TrimPrefix(name, "runtimepack.")
		default: // "project": the application's own code.
			continue
		}
		if !ok || name == "" || version == "" {
			continue
		}
		out = append(out, inventory.Package{Type: "nuget", Name: name, Version: version, Ecosystem: ecosystemNuGet})
	}
	return Result{Packages: out}, nil
}
