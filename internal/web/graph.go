package web

import (
	"cmp"
	"slices"
	"strconv"

	"strata/internal/report"
)

// A graph is a picture of where a vulnerability is: the package versions that have it, the
// layers that bring them, the images that hold these, and whose they are. Each column has
// the most frequent few, and one node for the rest.
type graph struct {
	Width, Height int
	Nodes         []graphNode
	Edges         []graphEdge
	Heads         []graphHead
}

// A graphHead is the title of a column.
type graphHead struct {
	X    int
	Text string
}

// A graphNode is a box.
type graphNode struct {
	X, Y, Width, Height int
	Text, Detail, Href  string
	Class               string
	column              int
	key                 string
	weight              int
}

// A graphEdge joins two boxes: a curve from the right of one to the left of the other.
type graphEdge struct {
	X1, Y1, XM, X2, Y2 int
	from, to           string
}

// Where boxes lie, in the picture's units.
const (
	graphColumn = 260
	graphBox    = 200
	graphRow    = 46
	graphTop    = 34
	graphMost   = 8
)

// graphOf draws the picture of a page; nil where there is nothing to draw.
func graphOf(p *impactPage) *graph {
	b := &graphBuilder{at: map[string]int{}, g: &graph{}}
	b.node(0, "v", p.Name, "", "", "subject")
	for i := range p.Impact.Images.Items {
		m := &p.Impact.Images.Items[i]
		image := "i" + strconv.FormatInt(m.ID, 10)
		for _, h := range m.Held {
			if h.Aside != "" {
				continue
			}
			pkg, layer := "p"+strconv.FormatInt(h.PackageID, 10), "l"+h.DiffID
			b.node(1, pkg, h.Name, h.Version, "", string(h.Severity))
			b.node(2, layer, cmp.Or(report.Instruction(h.CreatedBy), "layer "+short(h.DiffID)), short(h.DiffID), "/layers/"+h.DiffID, "")
			b.node(3, image, imageName(&m.ImageRow), m.Platform, "/images/"+strconv.FormatInt(m.ID, 10), string(m.State))
			b.edge("v", pkg)
			b.edge(pkg, layer)
			b.edge(layer, image)
			for _, owner := range m.Owners {
				b.node(4, "o"+owner, owner, "", "", "")
				b.edge(image, "o"+owner)
			}
		}
	}
	return b.draw()
}

// A graphBuilder collects what is drawn.
type graphBuilder struct {
	g  *graph
	at map[string]int
}

// node notes a box, once; how often it is noted is its weight.
func (b *graphBuilder) node(column int, key, text, detail, href, class string) {
	i, ok := b.at[key]
	if !ok {
		i = len(b.g.Nodes)
		b.at[key] = i
		b.g.Nodes = append(b.g.Nodes, graphNode{column: column, key: key, Text: text, Detail: detail, Href: href, Class: class, Width: graphBox, Height: graphRow - 10})
	}
	b.g.Nodes[i].weight++
}

func (b *graphBuilder) edge(from, to string) {
	e := graphEdge{from: from, to: to}
	if !slices.Contains(b.g.Edges, e) {
		b.g.Edges = append(b.g.Edges, e)
	}
}

// draw gives each box its place, and joins the boxes that are too many for a column.
func (b *graphBuilder) draw() *graph {
	if len(b.g.Edges) == 0 {
		return nil
	}
	columns := make([][]graphNode, 5)
	for _, n := range b.g.Nodes {
		columns[n.column] = append(columns[n.column], n)
	}
	heads := []string{"Vulnerability", "Package versions", "Layers that bring them", "Images", "Owners"}
	out := &graph{}
	place := map[string]graphNode{}
	for c, nodes := range columns {
		if len(nodes) == 0 {
			continue
		}
		slices.SortStableFunc(nodes, func(x, y graphNode) int { return y.weight - x.weight })
		out.Heads = append(out.Heads, graphHead{X: c * graphColumn, Text: heads[c]})
		rest := nodes[min(len(nodes), graphMost):]
		nodes = nodes[:min(len(nodes), graphMost)]
		for r := range nodes {
			nodes[r].X, nodes[r].Y = c*graphColumn, graphTop+r*graphRow
			place[nodes[r].key] = nodes[r]
			out.Nodes = append(out.Nodes, nodes[r])
		}
		if len(rest) > 0 {
			more := graphNode{X: c * graphColumn, Y: graphTop + graphMost*graphRow, Width: graphBox, Height: graphRow - 10, Text: "and " + number(len(rest)) + " more", Class: "rest"}
			out.Nodes = append(out.Nodes, more)
			for _, n := range rest {
				place[n.key] = more
			}
		}
	}
	drawn := map[graphEdge]bool{}
	for _, e := range b.g.Edges {
		from, to := place[e.from], place[e.to]
		line := graphEdge{X1: from.X + from.Width, Y1: from.Y + from.Height/2, X2: to.X, Y2: to.Y + to.Height/2}
		line.XM = (line.X1 + line.X2) / 2
		if !drawn[line] {
			drawn[line] = true
			out.Edges = append(out.Edges, line)
		}
	}
	for _, n := range out.Nodes {
		out.Width, out.Height = max(out.Width, n.X+n.Width), max(out.Height, n.Y+n.Height)
	}
	return out
}
