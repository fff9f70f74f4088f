package analyzer

import (
	"compress/zlib"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"strata/internal/inventory"
)

// rustBinary reads the list of crates that cargo-auditable links into an
// executable: zlib-compressed JSON in a section of its own
// (rust-secure-code/cargo-auditable, PARSING.md).
type rustBinary struct{}

func (rustBinary) Name() string { return "rust-binary" }

func (rustBinary) Wants(c *Candidate) bool { return executableFormat(c.Head) != notExecutable }

// maxAuditSize is the limit for the inflated list that PARSING.md advises.
const maxAuditSize = 8 << 20

func (rustBinary) Analyze(_ context.Context, f *File) (Result, error) {
	x, err := openExecutable(f)
	if err != nil {
		return Result{}, nil //nolint:nilerr // goBinary, which wants the same files, reports it.
	}
	s, ok := x.section(".dep-v0")
	if !ok {
		return Result{}, nil
	}
	packages, err := parseRustAudit(io.NewSectionReader(f.ReaderAt(), s.offset, s.size))
	if err != nil {
		return Result{}, fmt.Errorf("list of crates in section .dep-v0: %w", err)
	}
	return Result{Packages: packages}, nil
}

// parseRustAudit reads the content of the section.
func parseRustAudit(r io.Reader) ([]inventory.Package, error) {
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(z, maxAuditSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxAuditSize {
		return nil, fmt.Errorf("%w: %d bytes inflated", ErrTooLarge, maxAuditSize)
	}
	var audit struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Kind    string `json:"kind"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &audit); err != nil {
		return nil, err
	}
	var out []inventory.Package
	for _, p := range audit.Packages {
		// Of the kinds "runtime" (the default) and "build" only the first is in
		// the executable.
		if p.Kind == "build" || p.Name == "" || p.Version == "" {
			continue
		}
		out = append(out, inventory.Package{Type: "cargo", Name: p.Name, Version: p.Version, Ecosystem: ecosystemCargo})
	}
	return out, nil
}
