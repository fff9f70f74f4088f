package analyzer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"strata/internal/inventory"
)

// Recorded says of which files a layer's inventory has the digest, in words for who asks
// for one that it does not have. The rule is recorded and tellsOfPackages.
const Recorded = "programs and shared libraries (ELF, PE, Mach-O), Java archives, and files that tell of packages (manifests, lock files, package databases); no scripts or other files, and nothing inside archives"

// recorded tells by name and first bytes whether a file's digest is kept, whatever
// analyzers find in it.
func recorded(c *Candidate) bool {
	return executableFormat(c.Head) != notExecutable || javaArchiveName(c.Path)
}

// tellsOfPackages tells whether analyzers found packages in the file or know it as a
// database of them.
func tellsOfPackages(found []found) bool {
	for i := range found {
		if f := &found[i].file; len(f.Packages) > 0 || f.Kind == inventory.Database {
			return true
		}
	}
	return false
}

// A contentSum is the digest of the file that an entry of the layer has.
type contentSum struct {
	ref    int // of the entry in paths
	sha256 [sha256.Size]byte
}

// digests are what is kept of a layer's files by content. The zero value is ready.
type digests struct {
	sums []contentSum
	// at are the sums of paths, for the hard links to them that may follow.
	at     map[string]int
	full   bool
	buffer []byte
}

// digest keeps the digest of a file that was read.
func (run *layerRun) digest(ctx context.Context, f *File, ref int) {
	if ref < 0 || !run.roomForDigest(f.Path) {
		return
	}
	sum, err := run.digests.of(ctx, f)
	if err != nil {
		if ctx.Err() == nil {
			run.problem(f.Path, "", "has no digest: "+err.Error())
		}
		return
	}
	run.keepDigest(f.Path, ref, sum)
}

func (run *layerRun) roomForDigest(path string) bool {
	d := &run.digests
	if len(d.sums) == inventory.MaxDigests && !d.full {
		d.full = true
		run.problem(path, "", fmt.Sprintf("the layer has more than %d files with a digest: the others are not found by theirs", inventory.MaxDigests))
	}
	return !d.full
}

func (run *layerRun) keepDigest(path string, ref int, sum [sha256.Size]byte) {
	d := &run.digests
	if d.at == nil {
		d.at = map[string]int{}
	}
	d.at[path] = len(d.sums)
	d.sums = append(d.sums, contentSum{ref, sum})
	run.paths.Watch(ref)
}

// linkDigest gives a hard link the digest of its target, if that has one.
func (run *layerRun) linkDigest(path, target string, ref int) {
	if i, ok := run.digests.at[target]; ok && ref >= 0 && run.roomForDigest(path) {
		run.keepDigest(path, ref, run.digests.sums[i].sha256)
	}
}

// digestChunk is how much of a file is read at a time, in bytes.
const digestChunk = 256 << 10

// of is the SHA-256 of a file.
func (d *digests) of(ctx context.Context, f *File) (sum [sha256.Size]byte, err error) {
	if f.memory != nil {
		return sha256.Sum256(f.memory), nil
	}
	if d.buffer == nil {
		d.buffer = make([]byte, digestChunk)
	}
	h, r := sha256.New(), f.Reader()
	for {
		n, err := r.Read(d.buffer)
		h.Write(d.buffer[:n])
		switch {
		case errors.Is(err, io.EOF):
			if at, _ := r.Seek(0, io.SeekCurrent); at != f.Size {
				return sum, io.ErrUnexpectedEOF
			}
			return [sha256.Size]byte(h.Sum(nil)), nil
		case err != nil:
			return sum, err
		case ctx.Err() != nil:
			return sum, ctx.Err()
		}
	}
}

// pack gives the digests of the files that are there at the end of the layer; at is where
// the contents of entries lie then.
func (d *digests) pack(paths inventory.Paths, at map[int]string) []byte {
	if len(d.sums) == 0 {
		return nil
	}
	files := make([]inventory.FileDigest, 0, len(d.sums))
	for i := range d.sums {
		if path, ok := at[d.sums[i].ref]; ok {
			files = append(files, inventory.FileDigest{Path: path, SHA256: d.sums[i].sha256})
		}
	}
	return inventory.PackDigests(paths, files)
}
