package report

import (
	"fmt"

	"strata/internal/image"
)

// newBase is what was recognised of an image's base.
func newBase(b *image.Base) *Base {
	if b == nil {
		return nil
	}
	return &Base{Reference: b.Reference, Digest: string(b.Digest), Layers: b.Layers, By: BaseEvidence(b.By), Created: optionalTime(b.Created)}
}

// baseLine tells which the base is, and how that is known; empty without one.
func (t *table) baseLine() string {
	b := t.report.Image.Base
	if b == nil {
		return ""
	}
	name := cutMiddle(Safe(b.Reference), maxWord)
	if name == "" {
		name = "of unknown name"
	}
	if d := shortDigest(b.Digest); b.Reference == "" && d != "" {
		name = d
	}
	layers := plural(b.Layers, "layer")
	if b.Layers == 0 {
		layers = "which layers is not known"
	}
	by := map[BaseEvidence]string{BaseByLayers: "known by its layers", BaseByAnnotation: "as the image's annotations say", BaseByHistory: "by its build history"}[b.By]
	if by == "" {
		by = "by " + Safe(string(b.By))
	}
	return fmt.Sprintf("base image: %s (%s, %s)", name, layers, by)
}

// head's line of the base.
func (t *table) base() {
	if line := t.baseLine(); line != "" {
		t.paragraph(dim, line, 0, t.Width)
	}
}

// ownAndBase counts the active findings of the image's own layers and of its
// base's; ok is false when it is not known which these are.
func (t *table) ownAndBase() (own, base int, ok bool) {
	for i := range t.layers {
		if l := &t.layers[i]; l.Base {
			base, ok = base+l.counts.Total(), true
		} else {
			own += l.counts.Total()
		}
	}
	return own + len(t.loose), base, ok
}
