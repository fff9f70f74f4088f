package report

import (
	"fmt"
	"strings"
)

// manyLayers is how many rows the picture has at most before runs of layers of
// which there is nothing to tell become one row.
const manyLayers = 32

// A stackLayout is the widths of the picture's columns.
type stackLayout struct {
	index, bar, instruction, size, introduced, taken int
	severities                                       [len(Counts{})]int
}

// stack draws the layers as they lie on each other: the topmost first, the base
// image at the bottom.
func (t *table) stack() {
	if len(t.layers) == 0 {
		return
	}
	layout := t.stackLayout()
	t.edge = layout.end()
	largest := int64(1)
	for i := range t.layers {
		largest = max(largest, t.layers[i].Size)
	}
	t.line()
	t.stackHead(layout)
	for i := len(t.layers) - 1; i >= 0; i-- {
		if t.layers[i].Base && (i == len(t.layers)-1 || !t.layers[i+1].Base) {
			t.baseRule(layout)
		}
		if run := t.quietRun(i); run > 1 {
			t.quietRow(layout, i, run)
			i -= run - 1
			continue
		}
		t.stackRow(layout, &t.layers[i], largest)
	}
	t.stackTotal(layout)
}

func (t *table) stackLayout() stackLayout {
	l := stackLayout{index: 1, size: len("1.2 MB"), introduced: 2, taken: 2}
	for i := range t.layers {
		layer := &t.layers[i]
		l.index = max(l.index, len(fmt.Sprint(layer.Index)))
		l.size = max(l.size, len(Size(layer.Size)))
		for s, n := range layer.counts {
			l.severities[s] = max(l.severities[s], len(fmt.Sprint(n)))
		}
		l.introduced = max(l.introduced, len(introduced(layer.introduced)))
		l.taken = max(l.taken, width(taken(layer.taken)))
	}
	total := t.total()
	l.size = max(l.size, len(Size(total.Size)))
	l.introduced = max(l.introduced, len(introduced(total.introduced)))
	l.taken = max(l.taken, width(taken(total.taken)))
	for s, n := range total.counts {
		l.severities[s] = max(l.severities[s], len(fmt.Sprint(n)), 2)
	}
	l.introduced = max(l.introduced, len("PACKAGES")-l.taken-1)
	switch {
	case t.Width >= 140:
		l.bar = 20
	case t.Width >= 100:
		l.bar = 12
	case t.Width >= 80:
		l.bar = 8
	}
	longest := len("(not recorded)")
	for i := range t.layers {
		longest = max(longest, width(Safe(Instruction(t.layers[i].CreatedBy))))
	}
	l.instruction = max(min(t.Width-l.end(), longest), 8)
	return l
}

// end is where a row ends, given the widths of the cells so far.
func (l stackLayout) end() int {
	n := 1 + l.index + 2 + l.instruction + 2 + l.size + 2 + l.introduced + 1 + l.taken + 2
	if l.bar > 0 {
		n += l.bar + 2
	}
	return n + l.counts()
}

// counts is the width of the cells of all severities.
func (l stackLayout) counts() int {
	var n int
	for _, w := range l.severities {
		n += 1 + w
	}
	return n
}

func introduced(n int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprintf("+%d", n)
}

func taken(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("−%d", n)
}

func (t *table) total() *layerView {
	sum := &layerView{Layer: &Layer{Size: sizeOf(t.layers)}, counts: t.counts}
	for i := range t.layers {
		l := &t.layers[i]
		sum.introduced += l.introduced
		sum.taken += l.taken
	}
	return sum
}

// sizeOf is the size of layers together, -1 when that of one is not known.
func sizeOf(layers []layerView) int64 {
	var size int64
	for i := range layers {
		if layers[i].Size < 0 {
			return -1
		}
		size += layers[i].Size
	}
	return size
}

func (t *table) stackHead(l stackLayout) {
	t.space(1 + l.index + 2)
	if l.bar > 0 {
		t.space(l.bar + 2)
	}
	t.left(dim, "LAYER", l.instruction+2)
	t.right(dim, "SIZE", l.size)
	t.space(2)
	t.right(dim, "PACKAGES", l.introduced+1+l.taken)
	t.space(2)
	for i, letter := range "CHMLU" {
		t.space(1)
		t.right(severityStyleAt(i), string(letter), l.severities[i])
	}
	t.line()
}

func severityStyleAt(column int) style {
	return [len(Counts{})]style{magenta, red, yellow, cyan, grey}[column]
}

func (t *table) stackRow(l stackLayout, layer *layerView, largest int64) {
	t.space(1)
	t.right(bold, fmt.Sprint(layer.Index), l.index)
	t.space(2)
	if l.bar > 0 {
		t.left(barStyle(layer), bar(layer.Size, largest, l.bar), l.bar+2)
	}
	t.instruction(layer, l.instruction)
	t.space(2)
	t.numbers(l, layer)
}

// instruction writes how a layer came to be into a cell of n columns.
func (t *table) instruction(layer *layerView, n int) {
	s := cutEnd(Safe(Instruction(layer.CreatedBy)), n)
	if s == "" {
		t.left(dim, cutEnd("(not recorded)", n), n)
		return
	}
	st := plain
	if layer.Empty {
		st = dim
	}
	t.left(st, s, n)
}

// numbers writes the right half of a row: size, packages and findings.
func (t *table) numbers(l stackLayout, layer *layerView) {
	t.right(plain, Size(layer.Size), l.size)
	t.space(2)
	if layer.introduced == 0 {
		t.right(dim, introduced(0), l.introduced)
	} else {
		t.right(plain, introduced(layer.introduced), l.introduced)
	}
	t.space(1)
	t.right(dim, taken(layer.taken), l.taken)
	t.space(2)
	if layer.unread {
		t.right(yellow, "not read", l.counts())
		t.line()
		return
	}
	for i, n := range layer.counts {
		t.space(1)
		if n == 0 {
			t.right(dim, "·", l.severities[i])
		} else {
			t.right(severityStyleAt(i), fmt.Sprint(n), l.severities[i])
		}
	}
	t.line()
}

func (t *table) stackTotal(l stackLayout) {
	total := t.total()
	t.space(1 + l.index + 2)
	if l.bar > 0 {
		t.space(l.bar + 2)
	}
	t.left(dim, "total", l.instruction+2)
	t.numbers(l, total)
}

// baseRule is the border between the base image and what was built on it.
func (t *table) baseRule(l stackLayout) {
	t.space(1 + l.index + 2)
	const label = "base image "
	t.put(dim, label+strings.Repeat("┄", max(t.edge-(1+l.index+2)-len(label), 0)))
	t.line()
}

// quietRun is how many layers from i downwards there is nothing to tell of, where
// there are so many layers that it matters; they are all of the base, or none is.
func (v *view) quietRun(i int) int {
	if len(v.layers) <= manyLayers {
		return 0
	}
	run := 0
	for i-run >= 0 && v.layers[i-run].quiet() && v.layers[i-run].Base == v.layers[i].Base {
		run++
	}
	return run
}

func (t *table) quietRow(l stackLayout, top, run int) {
	t.space(1)
	t.right(dim, "⋮", l.index)
	t.space(2)
	if l.bar > 0 {
		t.space(l.bar + 2)
	}
	t.left(dim, cutEnd(fmt.Sprintf("%d layers without packages", run), l.instruction), l.instruction)
	t.space(2)
	t.right(dim, Size(sizeOf(t.layers[top-run+1:top+1])), l.size)
	t.line()
}

func barStyle(l *layerView) style {
	if l.Base {
		return grey
	}
	return cyan
}

// bar is a block whose width speaks of a layer's share of the largest, to an
// eighth of a column. Whatever has a size shows.
func bar(size, largest int64, columns int) string {
	if size <= 0 {
		return ""
	}
	eighths := int(float64(size) / float64(largest) * float64(columns*8))
	eighths = max(min(eighths, columns*8), 1)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}
