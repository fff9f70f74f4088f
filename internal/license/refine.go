package license

import "strings"

// Understood tells whether the class of the expression is known, without what
// users say of classes.
func (e Expression) Understood() bool {
	for t := range e.Terms() {
		if t.Listed() {
			return true
		}
	}
	return DefaultClasses().Of(e) != Unknown
}

// Vague tells whether what a package declares leaves open what a text tells: it
// says "BSD", of which there are several, and the text is of one of these.
func Vague(declared []string, text Expression) bool {
	if len(declared) != 1 {
		return false
	}
	switch strings.Join(keyWords(rewrite(declared[0])), " ") {
	case "bsd", "bsd style", "bsd like":
	default:
		return false
	}
	for t := range text.Terms() {
		if !strings.HasPrefix(t.License, "BSD-") && t.License != "0BSD" {
			return false
		}
	}
	return true
}
