package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// How long passwords are, in characters: at least, after NIST SP 800-63B-4, 3.1.1.2,
// and at most, so that no one hashes books.
const (
	shortest = 12
	longest  = 512
)

// The parameters of Argon2id that RFC 9106, 4, recommends second, where memory is
// limited: 64 MiB, three passes, four lanes, a salt of 128 bits and a tag of 256.
const (
	argonMemory = 64 << 10 // KiB
	argonPasses = 3
	argonLanes  = 4
	saltBytes   = 16
	tagBytes    = 32
)

// ErrBadPassword is wrapped by errors about a password that can't be one.
var ErrBadPassword = errors.New("password")

// CheckPassword tells why it can't be a password of the user; nil when it can.
func CheckPassword(user, password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case n < shortest:
		return fmt.Errorf("%w: want at least %d characters", ErrBadPassword, shortest)
	case n > longest:
		return fmt.Errorf("%w: want at most %d characters", ErrBadPassword, longest)
	case strings.EqualFold(user, password):
		return fmt.Errorf("%w: it is the user's name", ErrBadPassword)
	case strings.Count(password, password[:1]) == len(password):
		return fmt.Errorf("%w: it is one character, again and again", ErrBadPassword)
	}
	return nil
}

// HashPassword is the hash of a password, as the database keeps it: in the form of
// the PHC, "$argon2id$v=19$m=65536,t=3,p=4$SALT$TAG", so that parameters can change.
func HashPassword(password string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // it never fails
	tag := argon2.IDKey([]byte(password), salt, argonPasses, argonMemory, argonLanes, tagBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(tag))
}

// verifyPassword tells whether a hash is that of a password, and whether it was made
// with other parameters than HashPassword's, so that it is to be made anew. It takes as
// long for a hash that isn't one, as users without password and those that don't exist
// have: how long it takes tells no one which users there are.
func verifyPassword(hash, password string) (ok, outdated bool) {
	p, err := parseHash(hash)
	if err != nil {
		argon2.IDKey([]byte(password), make([]byte, saltBytes), argonPasses, argonMemory, argonLanes, tagBytes)
		return false, false
	}
	tag := argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.lanes, uint32(len(p.tag)))
	return subtle.ConstantTimeCompare(tag, p.tag) == 1, p.memory != argonMemory || p.passes != argonPasses || p.lanes != argonLanes || len(p.tag) != tagBytes
}

type passwordHash struct {
	memory, passes uint32
	lanes          uint8
	salt, tag      []byte
}

// parseHash reads the form of the PHC. Parameters beyond reason are an error: the hash
// may come from a backup of who knows whom.
func parseHash(hash string) (p passwordHash, err error) {
	parts := strings.Split(hash, "$")
	const want = 6
	if len(parts) != want || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, errors.New("no hash by argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil {
		return p, err
	}
	if p.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return p, err
	}
	if p.tag, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return p, err
	}
	const mostMemory, mostPasses, leastTag = 1 << 20, 64, 16
	if p.memory == 0 || p.memory > mostMemory || p.passes == 0 || p.passes > mostPasses || p.lanes == 0 || len(p.tag) < leastTag {
		return p, errors.New("parameters beyond reason")
	}
	return p, nil
}

// hashing lets as many passwords be hashed at once as memory is meant for: 64 MiB each.
func (a *Access) hashing(ctx context.Context, do func()) error {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.slots }()
	do()
	return nil
}
