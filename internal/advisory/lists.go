package advisory

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Limits of the two lists. KEV has 1.3 MB, EPSS 8 MB unpacked.
const (
	maxKEVBytes  = 64 << 20
	maxEPSSBytes = 512 << 20
)

// A KEV is an entry of CISA's catalogue of known exploited vulnerabilities
// (https://www.cisa.gov/known-exploited-vulnerabilities-catalog).
type KEV struct {
	CVE string
	// Added is the day it was put on the list.
	Added time.Time
	// Ransomware tells that campaigns of ransomware are known to use it.
	Ransomware bool
}

// ParseKEV reads the catalogue's JSON. Entries without a CVE number are an error
// only when there is no other: the list is someone else's.
func ParseKEV(r io.Reader) ([]KEV, error) {
	var w struct {
		Vulnerabilities []struct {
			CVE        string `json:"cveID"`
			Added      string `json:"dateAdded"`
			Ransomware string `json:"knownRansomwareCampaignUse"`
		} `json:"vulnerabilities"`
	}
	b, err := readLimited(r, maxKEVBytes)
	if err != nil {
		return nil, fmt.Errorf("KEV catalogue: %w", err)
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("KEV catalogue: %w", err)
	}
	var out []KEV
	for _, v := range w.Vulnerabilities {
		if !strings.HasPrefix(v.CVE, "CVE-") || CVE(v.CVE) == "" {
			continue
		}
		// A date that can't be read costs the date, not the entry.
		added, _ := time.Parse(time.DateOnly, v.Added)
		out = append(out, KEV{CVE: v.CVE, Added: added, Ransomware: strings.EqualFold(v.Ransomware, "Known")})
	}
	if len(out) == 0 {
		return nil, errors.New(`KEV catalogue: no entries: want CISA's JSON with "vulnerabilities"`)
	}
	return out, nil
}

// An EPSS is a score of the Exploit Prediction Scoring System
// (https://www.first.org/epss/).
type EPSS struct {
	CVE string
	// Score is the probability of exploitation in the next 30 days, 0 to 1.
	Score float64
	// Percentile is the part of all CVEs that score at most as high, 0 to 1.
	Percentile float64
}

// ParseEPSS reads FIRST's CSV, gzipped or plain, and calls yield with every
// score; it stops at yield's first error and returns it. Rows that can't be read
// are an error: scores are of no use when some are silently lost.
func ParseEPSS(r io.Reader, yield func(EPSS) error) error {
	plain, err := maybeGunzip(r)
	if err != nil {
		return fmt.Errorf("EPSS scores: %w", err)
	}
	lr := &io.LimitedReader{R: plain, N: maxEPSSBytes}
	c := csv.NewReader(lr)
	c.Comment, c.FieldsPerRecord, c.ReuseRecord = '#', -1, true
	for n := 0; ; n++ {
		row, err := c.Read()
		switch {
		case lr.N <= 0:
			return fmt.Errorf("EPSS scores: more than the limit of %d bytes", maxEPSSBytes)
		case errors.Is(err, io.EOF) && n < 2:
			return errors.New("EPSS scores: no rows: want a CSV with the columns cve,epss,percentile")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("EPSS scores: %w", err)
		}
		if n == 0 {
			if len(row) < 2 || row[0] != "cve" || row[1] != "epss" {
				return errors.New("EPSS scores: not a CSV with the columns cve,epss,percentile")
			}
			continue
		}
		e, err := epssRow(row)
		if err != nil {
			line, _ := c.FieldPos(0)
			return fmt.Errorf("EPSS scores: line %d: %w", line, err)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

func epssRow(row []string) (EPSS, error) {
	if len(row) < 2 || CVE(row[0]) != row[0] {
		return EPSS{}, errors.New("want cve,epss,percentile")
	}
	e := EPSS{CVE: strings.Clone(row[0])}
	for i, to := range []*float64{&e.Score, &e.Percentile} {
		if len(row) <= i+1 {
			break
		}
		f, err := strconv.ParseFloat(row[i+1], 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return EPSS{}, fmt.Errorf("%q: want a number from 0 to 1", row[i+1])
		}
		*to = f
	}
	return e, nil
}

func maybeGunzip(r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return br, nil
	}
	return gzip.NewReader(br)
}

// readLimited reads all of r, or fails when it has more than limit bytes.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than the limit of %d bytes", limit)
	}
	return b, nil
}
