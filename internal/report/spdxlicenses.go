package report

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// spdxLicenses collects the licences that the SPDX list does not have: a document
// must explain each LicenseRef-.
type spdxLicenses struct {
	refs map[string]*v2_3.OtherLicense
}

// licenseRef is how an expression names a licence that is not on SPDX's list:
// SPDX 2.3, annex D.
var licenseRef = regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`)

// of gives the declared and the concluded licence of a package, each an
// expression or NOASSERTION.
func (s *spdxLicenses) of(p *Package) (declared, concluded string) {
	declared, concluded = noAssertion, noAssertion
	if p.License == nil {
		var refs []string
		for _, l := range p.Licenses {
			if text := spdxLine(l); text != "" {
				refs = append(refs, s.free(text))
			}
		}
		return cmp.Or(strings.Join(refs, " AND "), noAssertion), concluded
	}
	if p.License.Expression != "" {
		concluded = s.expression(p.License.Expression, p)
	}
	if all := declaredExpressions(p); len(all) == 1 {
		declared = s.expression(all[0], p)
	} else if len(all) > 1 {
		parts := make([]string, len(all))
		for i, e := range all {
			if parts[i] = s.expression(e, p); strings.Contains(parts[i], " ") {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		declared = strings.Join(parts, " AND ")
	}
	return declared, concluded
}

// isExpression tells whether a text is a licence expression by its grammar (SPDX
// 2.3, annex D); whether its licences are on the list is another question.
func isExpression(s string) bool {
	open, wantLicense, exception := 0, true, false
	for _, word := range strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s)) {
		switch {
		case word == "(" && wantLicense && !exception:
			open++
		case word == ")" && !wantLicense && open > 0:
			open--
		case word == "AND" || word == "OR" || word == "WITH":
			if wantLicense {
				return false
			}
			wantLicense, exception = true, word == "WITH"
		case wantLicense && licenseID.MatchString(word):
			wantLicense, exception = false, false
		default:
			return false
		}
	}
	return open == 0 && !wantLicense && len(s) < maxLine && !strings.ContainsAny(s, "\t\n\v\f\r")
}

var licenseID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*\+?$`)

// expression notes the licences of an expression that must be explained. What
// can't be one, or refers to another document, becomes a licence of its own.
func (s *spdxLicenses) expression(e string, p *Package) string {
	if !isExpression(e) {
		return s.free(spdxLine(e))
	}
	for _, ref := range licenseRef.FindAllString(e, -1) {
		text := "not on the SPDX licence list"
		if len(p.Licenses) > 0 {
			text = "declared as " + Safe(strings.Join(p.Licenses, ", "))
		}
		for i := range p.License.Evidence {
			if path := Safe(p.License.Evidence[i].Path); path != "" {
				text += "; see " + path + " in the image"
				break
			}
		}
		s.note(ref, strings.TrimPrefix(ref, "LicenseRef-"), text)
	}
	return e
}

// free makes a licence of a text that is no expression.
func (s *spdxLicenses) free(text string) string {
	slug := strings.Trim(notInID.ReplaceAllString(cutEnd(text, 40), "-"), "-.")
	sum := sha256.Sum256([]byte(text))
	ref := strings.TrimSuffix(fmt.Sprintf("LicenseRef-strata-%x-%s", sum[:4], slug), "-")
	s.note(ref, cutEnd(text, 80), text)
	return ref
}

func (s *spdxLicenses) note(ref, name, text string) {
	if s.refs == nil {
		s.refs = map[string]*v2_3.OtherLicense{}
	}
	if s.refs[ref] == nil {
		s.refs[ref] = &v2_3.OtherLicense{LicenseIdentifier: ref, LicenseName: name, ExtractedText: spdxLine(text)}
	}
}

func (s *spdxLicenses) other() []*v2_3.OtherLicense {
	var out []*v2_3.OtherLicense
	for _, ref := range slices.Sorted(maps.Keys(s.refs)) {
		out = append(out, s.refs[ref])
	}
	return out
}
