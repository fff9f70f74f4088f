package analyzer

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
)

// maxZipDirectory limits the central directory of an archive, in bytes as
// stored: archive/zip keeps some 4 times that in memory. A jar with 200,000
// short names has 10 MiB.
const maxZipDirectory = 24 << 20

// errZipDirectory tells that the limit was reached.
var errZipDirectory = fmt.Errorf("its directory is larger than the limit of %d MiB (for it and the archives it lies in)", maxZipDirectory>>20)

// openZip reads the directory of the archive, up to limit bytes of it. The size
// that the archive claims for it is not believed: what is read is counted, and
// returned as used.
func openZip(r io.ReaderAt, size, limit int64) (z *zip.Reader, used int64, err error) {
	m := &meteredReaderAt{ReaderAt: r, left: limit}
	z, err = zip.NewReader(m, size)
	if m.left < 0 {
		return nil, limit, errZipDirectory
	}
	// Insecure names are no danger: nothing is written under them.
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, 0, fmt.Errorf("not a readable zip archive: %w", err)
	}
	m.open = true
	return z, limit - m.left, nil
}

// meteredReaderAt fails after left bytes until it is open. It is not safe for
// concurrent use before.
type meteredReaderAt struct {
	io.ReaderAt
	left int64
	open bool
}

func (m *meteredReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if !m.open {
		if m.left -= int64(len(p)); m.left < 0 {
			return 0, errZipDirectory
		}
	}
	return m.ReaderAt.ReadAt(p, off)
}
