package analyzer

import (
	"os"
	"testing"

	"strata/internal/image"
	"strata/internal/inventory"
)

// runLayerFile reads a layer's blob on disk.
func runLayerFile(t *testing.T, blob string) *inventory.Layer {
	t.Helper()
	f, err := os.Open(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, _, err := (&Runner{Analyzers: Default()}).Layer(t.Context(), f, image.Layer{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
