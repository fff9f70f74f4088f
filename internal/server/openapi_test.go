package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

//go:generate go test -run TestOpenAPIDescription -update .

var update = flag.Bool("update", false, "write docs/openapi.json anew")

// The description of the API that is checked in is that of the handlers: what changes in
// it is seen in review.
func TestOpenAPIDescription(t *testing.T) {
	s, err := New(Options{DB: openTestDB(t, t.TempDir()+"/strata.db"), Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, plain, "", " "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	const file = "../../docs/openapi.json"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Error("docs/openapi.json is not what the handlers are: see what changed, then `make generate`")
	}
}
