package advisory

import (
	"embed"
	"io/fs"
)

//go:embed starter
var starterFiles embed.FS

// StarterMirror is the small set of records that comes with Strata, so that the
// demo and a first run without network show real results. It is no substitute
// for a database: it knows a few dozen flaws of a few dozen packages.
//
// The records are facts (ids, ranges, CVSS vectors, dates) with summaries in our
// own words.
func StarterMirror() *Mirror {
	sub, err := fs.Sub(starterFiles, "starter")
	if err != nil {
		// The name is fixed and valid: only a broken build comes here.
		panic("advisory: " + err.Error())
	}
	return &Mirror{location: "starter set", files: folder{sub}, starter: true}
}
