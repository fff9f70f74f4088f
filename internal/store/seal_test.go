package store

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

func TestSeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "strata.db")
	key := bytes.Repeat([]byte{7}, KeySize)
	db, err := OpenDB(t.Context(), path, DBOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sealed, err := db.seal("registry 7", []byte("s3cret"))
	if err != nil || bytes.Contains(sealed, []byte("s3cret")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	if got, err := db.unseal("registry 7", sealed); err != nil || string(got) != "s3cret" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := db.unseal("registry 8", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("in another row: %v", err)
	}
	for i := range sealed {
		sealed[i] ^= 1
		if _, err := db.unseal("registry 7", sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		sealed[i] ^= 1
	}
	again, err := OpenDB(t.Context(), path, DBOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := OpenDB(t.Context(), path, DBOptions{Key: bytes.Repeat([]byte{8}, KeySize)}); !errors.Is(err, ErrSealed) {
		t.Errorf("another key: %v", err)
	}
	none, err := OpenDB(t.Context(), path, DBOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if _, err := none.seal("x", nil); !errors.Is(err, ErrSealed) {
		t.Errorf("without key: %v", err)
	}
}
