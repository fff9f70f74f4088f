package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// KeySize is the length of the server's key in bytes (AES-256).
const KeySize = 32

// sealVersion is the first byte of what is sealed: AES-256-GCM, a nonce of 12 random
// bytes, what is sealed, a tag of 16.
const sealVersion = 1

// ErrSealed is wrapped by errors about what can't be unsealed: the key is another one,
// or none was given.
var ErrSealed = errors.New("can't be read with this key of the server")

// seal encrypts a secret for a column. about says whose it is ("registry 7 credentials"),
// so that what was sealed for one row can't be put in another.
func (d *DB) seal(about string, secret []byte) ([]byte, error) {
	aead, err := d.aead()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secret)+aead.Overhead())
	_, _ = rand.Read(nonce) // it never fails
	return append([]byte{sealVersion}, aead.Seal(nonce, nonce, secret, []byte(about))...), nil
}

// unseal decrypts what seal made for the same; nothing for nothing.
func (d *DB) unseal(about string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	aead, err := d.aead()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	if sealed[0] != sealVersion || len(sealed) < 1+aead.NonceSize() {
		return nil, fmt.Errorf("%s: %w", about, ErrSealed)
	}
	nonce, text := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	secret, err := aead.Open(nil, nonce, text, []byte(about))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", about, ErrSealed)
	}
	return secret, nil
}

func (d *DB) aead() (cipher.AEAD, error) {
	if len(d.key) != KeySize {
		return nil, fmt.Errorf("%w: there is none", ErrSealed)
	}
	block, err := aes.NewCipher(d.key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// checkKey holds the key against what the database was sealed with. The first key is
// the one.
func (d *DB) checkKey(ctx context.Context) error {
	if len(d.key) == 0 {
		return nil
	}
	const name = "key"
	sealed, err := d.seal(name, []byte(name))
	if err != nil {
		return err
	}
	if _, err := d.db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, sealed); err != nil {
		return err
	}
	if err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&sealed); err != nil {
		return err
	}
	if _, err := d.unseal(name, sealed); err != nil {
		return fmt.Errorf("%w: the secrets in it were sealed with another one", ErrSealed)
	}
	return nil
}
