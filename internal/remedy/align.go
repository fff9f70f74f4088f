package remedy

import (
	"slices"
	"strings"

	"strata/internal/image"
)

// A place is an instruction of a Dockerfile that made a layer.
type place struct {
	stage, n int
}

// maxAligned bounds the work of finding instructions.
const maxAligned = 2000

// align finds the instructions that made the image's own layers: the longest
// list of pairs in order whose text is the same. What was not found is absent.
func (d *Dockerfile) align(stage int, layers []image.Layer) map[int]place {
	written := d.written(stage)
	if len(written) > maxAligned || len(layers) > maxAligned {
		return nil
	}
	// The longest common subsequence, from the end.
	best, equal := make([][]int, len(layers)+1), make([][]bool, len(layers))
	for l := range best {
		best[l] = make([]int, len(written)+1)
	}
	for l := len(layers) - 1; l >= 0; l-- {
		made := record(layers[l].CreatedBy)
		equal[l] = make([]bool, len(written))
		for p := len(written) - 1; p >= 0; p-- {
			best[l][p] = max(best[l+1][p], best[l][p+1])
			if equal[l][p] = made.is(&written[p]); equal[l][p] {
				best[l][p] = max(best[l][p], best[l+1][p+1]+1)
			}
		}
	}
	found := map[int]place{}
	for l, p := 0, 0; l < len(layers) && p < len(written); {
		switch {
		case equal[l][p] && best[l][p] == best[l+1][p+1]+1:
			found[layers[l].Index] = written[p].place
			l, p = l+1, p+1
		case best[l+1][p] >= best[l][p+1]:
			l++
		default:
			p++
		}
	}
	return found
}

// A statement is an instruction in the forms in which histories may have it.
type statement struct {
	place
	verb string
	// texts of a RUN, words of others without flags.
	texts []string
	words []string
}

// written are the statements of a stage and of those below that make layers.
func (d *Dockerfile) written(stage int) []statement {
	var out []statement
	globals, vars := d.globalVariables(), map[string]variable{}
	for _, s := range d.chain(stage) {
		for n := range d.Stages[s].Instructions {
			i := &d.Stages[s].Instructions[n]
			w := statement{place: place{s, n}, verb: i.Verb}
			switch args := i.text[i.args:]; i.Verb {
			case "RUN":
				w.texts = []string{squeeze(args), squeeze(execText(args))}
				if len(i.heredocs) > 0 {
					w.texts = append(w.texts, squeeze(d.heredocText(i)))
				}
			case "COPY", "ADD", "WORKDIR":
				w.words = withoutFlags(expand(args, vars))
			default:
				define(vars, i, globals)
				continue
			}
			out = append(out, w)
		}
	}
	return out
}

// record is what a history says of a layer.
func record(createdBy string) statement {
	verb, rest, _ := strings.Cut(strings.TrimSpace(image.Instruction(createdBy)), " ")
	return statement{verb: verb, texts: []string{squeeze(rest)}, words: withoutFlags(rest)}
}

// is tells whether the record is of the instruction w.
func (r *statement) is(w *statement) bool {
	if r.verb != w.verb {
		return false
	}
	if r.verb == "RUN" {
		made := r.texts[0]
		return slices.ContainsFunc(w.texts, func(text string) bool {
			// Before what no shell runs, the build arguments stay: |1 V=1 program
			return text == made || strings.HasPrefix(made, "|") && text != "" && strings.HasSuffix(made, " "+text)
		})
	}
	n := len(r.words)
	if n == 0 || len(w.words) == 0 {
		return false
	}
	if slices.Equal(r.words, w.words) {
		return true
	}
	// The classic builder: COPY file:5b1e… in /app/
	hashed := n >= 3 && r.words[n-2] == "in" && (strings.HasPrefix(r.words[0], "file:") || strings.HasPrefix(r.words[0], "dir:") || strings.HasPrefix(r.words[0], "multi:"))
	to := func(path string) string { return strings.Trim(strings.TrimPrefix(path, "./"), "/") }
	return hashed && to(r.words[n-1]) == to(w.words[len(w.words)-1])
}

// withoutFlags are the words that are no flags.
func withoutFlags(s string) []string {
	var out []string
	for _, w := range strings.Fields(s) {
		if len(out) > 0 || !strings.HasPrefix(w, "--") {
			out = append(out, w)
		}
	}
	return out
}

// squeeze takes what builders change off a script: white space and the escapes of
// lines.
func squeeze(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\\' }), " ")
}

// heredocText is the script that heredocs are.
func (d *Dockerfile) heredocText(i *Instruction) string {
	var b strings.Builder
	for _, h := range i.heredocs {
		b.WriteString(d.text[h.start:h.end])
	}
	return b.String()
}

// execText is the JSON form as histories have it: with spaces between.
func execText(args string) string {
	c, ok := execForm(args)
	if !ok {
		return args
	}
	words := make([]string, len(c.words))
	for i, w := range c.words {
		words[i] = w.text
	}
	return strings.Join(words, " ")
}
