// Package license knows licences: the classes that policies speak of, SPDX
// expressions, and the texts by which licences are recognised.
//
// It is pure and knows neither packages nor images: which file's licence is
// which package's is for package inventory.
package license

// A Class says what a licence asks of those who pass software on. The classes
// are ordered by how much that is, except for Proprietary and Unknown, which are
// questions rather than answers.
type Class string

// The classes.
const (
	// PublicDomain: nothing is asked (CC0-1.0, Unlicense, 0BSD).
	PublicDomain Class = "public-domain"
	// Permissive: notices are to be kept (MIT, BSD, Apache-2.0).
	Permissive Class = "permissive"
	// WeakCopyleft: changes to the files or library itself are to be passed on
	// under the same licence (LGPL, MPL, EPL).
	WeakCopyleft Class = "weak-copyleft"
	// StrongCopyleft: so is everything that is made of it (GPL).
	StrongCopyleft Class = "strong-copyleft"
	// NetworkCopyleft: also when it is only offered over a network (AGPL, SSPL).
	NetworkCopyleft Class = "network-copyleft"
	// Proprietary: use or passing on is restricted or to be paid for.
	Proprietary Class = "proprietary"
	// Unknown: nothing is declared, or it is not understood.
	Unknown Class = "unknown"
)
