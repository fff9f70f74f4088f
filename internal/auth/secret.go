package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"strings"
)

// tokenPrefix is what tokens begin with, so that scanners of secrets know one; the
// last six characters are a checksum (CRC-32), so that they know it from a mere word.
const tokenPrefix = "strata_"

// newSecret is one that can't be guessed: 256 random bits.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // it never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// newTokenSecret is "strata_", 43 characters and their checksum.
func newTokenSecret() string {
	s := newSecret()
	return tokenPrefix + s + checksum(s)
}

// checksum is the CRC-32 (IEEE) of a secret, in six characters.
func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	return base64.RawURLEncoding.EncodeToString([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// wellFormed tells whether it can be a token at all, without asking the database.
func wellFormed(token string) bool {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	const sum = 6
	return ok && len(rest) == 43+sum && checksum(rest[:43]) == rest[43:]
}

// hashSecret is what the database knows a secret by. It is looked up by this hash,
// so that no comparison takes a time that tells of the secret; and 256 random bits
// need no slow hash.
func hashSecret(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
