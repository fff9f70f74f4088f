package license

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "refresh the index of licence texts")

func TestTextIndex(t *testing.T) {
	want := buildTextIndex(textLicenses(), sampleTexts(t))
	if *update {
		if err := os.WriteFile("textindex.bin", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, textIndexFile) {
		t.Error(errTextIndex)
	}
}
