package analyzer

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"strata/internal/inventory"
	"strata/internal/license"
)

// javaArchive reads Java archives and the archives in them: each names itself by
// META-INF/maven/GROUP/ARTIFACT/pom.properties (several, when others were shaded
// into it), else by its manifest and file name.
type javaArchive struct{ texts *license.Recogniser }

func (javaArchive) Name() string { return "java-archive" }

func (javaArchive) Wants(c *Candidate) bool { return javaArchiveName(c.Path) }

// javaArchiveName tells by its extension whether a file is a Java archive.
func javaArchiveName(p string) bool {
	dot := strings.LastIndexByte(p, '.')
	if dot < 0 || len(p)-dot < len(".jar") || len(p)-dot > len(".lpkg") {
		return false
	}
	ext := p[dot+1:]
	for _, e := range javaExtensions {
		if strings.EqualFold(ext, e) {
			return true
		}
	}
	return false
}

// javaExtensions: Jenkins has hpi and jpi, JBoss par and sar, NiFi nar, Karaf
// kar, Liferay lpkg. A rar may be a resource adapter, but is seldom Java's.
var javaExtensions = [...]string{"jar", "war", "ear", "jpi", "hpi", "par", "sar", "nar", "kar", "lpkg"}

// Limits for archives in archives; reaching one is noted.
const (
	// maxJarDepth is how deep they are looked for: an ear holds wars, which hold
	// jars, which may hold jars.
	maxJarDepth = 6
	// maxJarNested is the size of one inflated archive in an archive, which is
	// held in memory. (One that is stored as it is, as in Spring Boot's, is read
	// in place.)
	maxJarNested = 96 << 20
	// maxJarHeld is what an archive and those it lies in may hold together.
	maxJarHeld = 128 << 20
	// maxJarInflated is how much is read of all archives in one file together.
	maxJarInflated = 1 << 30
	// maxJarArchives is how many archives in one file are looked into.
	maxJarArchives = 20_000
	// maxJarText is the size of a manifest or pom.properties.
	maxJarText = 1 << 20
	// maxJarPackages is how many packages one file may give.
	maxJarPackages = 50_000
)

func (j javaArchive) Analyze(ctx context.Context, f *File) (Result, error) {
	if f.Size == 0 {
		return Result{}, nil
	}
	w := &jarWalk{ctx: ctx, texts: j.texts, inflated: maxJarInflated, held: maxJarHeld, directory: maxZipDirectory, archives: maxJarArchives}
	err := w.archive(f.ReaderAt(), f.Size, f.Path, "", 1)
	return Result{Packages: w.packages, Licenses: w.licenses, Notes: w.notes}, err
}

// A jarWalk is the walk through one archive and those in it.
type jarWalk struct {
	ctx      context.Context
	packages []inventory.Package
	notes    []string
	texts    *license.Recogniser // nil to look for no licences
	licenses []inventory.LicenseFile
	// What is left of the limits.
	inflated, held, directory, archives int64
	// full is set when a limit ended the walk.
	full bool
}

// archive reads one archive; member is its path in the file, empty for the file.
// An error is that of this archive alone.
func (w *jarWalk) archive(r io.ReaderAt, size int64, name, member string, depth int) error {
	z, used, err := openZip(r, size, w.directory)
	if err != nil {
		return err
	}
	w.directory -= used
	defer func() { w.directory += used }()
	var poms []pomProperties
	var manifest javaManifest
	declared := map[string][]string{} // licences by directory of the pom
	for _, e := range z.File {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.full {
			break
		}
		switch {
		case strings.HasSuffix(e.Name, "/pom.properties") && strings.Contains(e.Name, "META-INF/maven/"):
			b, err := w.read(e, maxJarText)
			if err != nil {
				w.note(joinMember(member, e.Name), err.Error())
				continue
			}
			if p, ok := parsePomProperties(b, e.Name); ok {
				poms = append(poms, p)
			}
		case strings.EqualFold(e.Name, "META-INF/MANIFEST.MF"):
			b, err := w.read(e, maxJarText)
			if err != nil {
				w.note(joinMember(member, e.Name), err.Error())
				continue
			}
			manifest = parseJavaManifest(b)
		case strings.HasSuffix(e.Name, "/pom.xml") && strings.HasPrefix(e.Name, "META-INF/maven/"):
			if b, err := w.read(e, maxJarText); err == nil { // without it, nothing is missing but the licence
				declared[path.Dir(e.Name)] = pomLicenses(b)
			}
		case jarLicense(e.Name) && e.UncompressedSize64 > 0:
			w.license(e, joinMember(member, e.Name))
		case javaArchiveName(e.Name) && e.UncompressedSize64 > 0:
			w.nested(r, e, joinMember(member, e.Name), depth+1)
		}
	}
	for i := range poms {
		poms[i].licenses = declared[path.Dir(poms[i].entry)]
	}
	w.add(jarPackages(name, member, poms, manifest))
	return nil
}

// jarLicense tells whether an entry of an archive is its licence.
func jarLicense(entry string) bool {
	name := strings.TrimPrefix(entry, "META-INF/")
	return !strings.Contains(name, "/") && license.KindOfFile(name) == license.LicenseText
}

// Bounds of the licence texts in one file: an archive of archives may have one in each.
const (
	maxJarLicenses = 2000
	maxJarLicense  = license.MaxText
)

// license recognises the text e. One that can't be read is no loss of packages.
func (w *jarWalk) license(e *zip.File, member string) {
	if w.texts == nil || len(w.licenses) >= maxJarLicenses || e.UncompressedSize64 > maxJarLicense {
		return
	}
	b, err := w.read(e, maxJarLicense)
	if err != nil {
		return
	}
	found := textEvidence(w.texts, b)
	found.Member = validText(member)
	w.licenses = append(w.licenses, found)
}

// joinMember is the path of an entry of the archive member.
func joinMember(member, entry string) string {
	if member == "" {
		return entry
	}
	return member + "!/" + entry
}

// nested reads the archive e, which lies in the one that r reads.
func (w *jarWalk) nested(r io.ReaderAt, e *zip.File, member string, depth int) {
	if depth > maxJarDepth {
		w.note(member, fmt.Sprintf("not looked into: archives nested more than %d deep", maxJarDepth))
		return
	}
	if w.archives--; w.archives < 0 {
		w.full = true
		w.note(member, fmt.Sprintf("stopped here: the limit of %d archives in one file is reached", maxJarArchives))
		return
	}
	content, size, err := w.stored(r, e)
	if content == nil && err == nil {
		var b []byte
		if b, err = w.read(e, min(maxJarNested, w.held)); err == nil {
			content, size = bytes.NewReader(b), int64(len(b))
			w.held -= size
			defer func() { w.held += size }()
		}
	}
	if err == nil {
		err = w.archive(content, size, e.Name, member, depth)
	}
	if err != nil {
		w.note(member, err.Error())
	}
}

// stored gives an entry that is not compressed in place, without a copy; nil for
// others.
func (w *jarWalk) stored(r io.ReaderAt, e *zip.File) (io.ReaderAt, int64, error) {
	if e.Method != zip.Store || e.CompressedSize64 != e.UncompressedSize64 {
		return nil, 0, nil
	}
	offset, err := e.DataOffset()
	if err != nil {
		return nil, 0, err
	}
	size := int64(e.UncompressedSize64)
	// Entries may overlap, so even these can be far more than the file.
	if err := w.take(size); err != nil {
		return nil, 0, err
	}
	return io.NewSectionReader(r, offset, size), size, nil
}

// read inflates e, which must have no more than limit bytes.
func (w *jarWalk) read(e *zip.File, limit int64) ([]byte, error) {
	if e.UncompressedSize64 > uint64(limit) {
		return nil, fmt.Errorf("not looked into: it has %d bytes, the limit here is %d", e.UncompressedSize64, limit)
	}
	if err := w.take(int64(e.UncompressedSize64)); err != nil {
		return nil, err
	}
	return readZipEntry(e, limit) // archive/zip holds the entry to its size.
}

// take counts size bytes that are about to be read.
func (w *jarWalk) take(size int64) error {
	if size < 0 || size > w.inflated {
		w.full = true
		return fmt.Errorf("stopped here: the limit of %d MiB read from one file is reached", maxJarInflated>>20)
	}
	w.inflated -= size
	return nil
}

// maxJarNotes limits the notes of one file: the thousandth says nothing new.
const maxJarNotes = 20

func (w *jarWalk) note(member, message string) {
	switch {
	case len(w.notes) < maxJarNotes:
		w.notes = append(w.notes, fmt.Sprintf("%q: %s", member, message))
	case len(w.notes) == maxJarNotes:
		w.notes = append(w.notes, "more of these are left out")
	}
}

func (w *jarWalk) add(packages []inventory.Package) {
	if len(w.packages)+len(packages) > maxJarPackages {
		packages = packages[:maxJarPackages-len(w.packages)]
		w.full = true
		w.notes = append(w.notes, fmt.Sprintf("stopped: the limit of %d packages in one file is reached", maxJarPackages))
	}
	w.packages = append(w.packages, packages...)
}
