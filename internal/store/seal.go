package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeySize is the length of a key of the server in bytes (AES-256).
const KeySize = 32

// What is sealed begins with a byte for the form, by AES-256-GCM, and the id of the key;
// a nonce of 12 random bytes, what is sealed, and a tag of 16 follow.
const (
	sealVersion = 1
	keyIDSize   = 8
	sealHead    = 1 + keyIDSize
)

// ErrSealed is wrapped by errors about what can't be unsealed: it was sealed with another
// key than the server has, or the server has none.
var ErrSealed = errors.New("can't be read with the keys of this server")

// A KeyID says which key it is, without a hint of what it is.
type KeyID string

// KeyIDOf is the id of a key: the first 64 bits of an HMAC by it, in hexadecimal.
func KeyIDOf(key []byte) KeyID {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("strata key id")) // a hash gives no errors
	return KeyID(hex.EncodeToString(mac.Sum(nil)[:keyIDSize]))
}

// sealedBy is the id of the key by which something was sealed; empty for what isn't sealed.
func sealedBy(sealed []byte) KeyID {
	if len(sealed) < sealHead || sealed[0] != sealVersion {
		return ""
	}
	return KeyID(hex.EncodeToString(sealed[1:sealHead]))
}

// keyring are the keys of a server: the first one seals, all open.
type keyring struct {
	ids   []KeyID
	aeads []cipher.AEAD
}

func newKeyring(key []byte, former [][]byte) (k keyring, err error) {
	if len(key) == 0 {
		return k, nil
	}
	for i, secret := range append([][]byte{key}, former...) {
		if len(secret) != KeySize {
			return k, fmt.Errorf("key %d has %d bytes: want %d", i+1, len(secret), KeySize)
		}
		block, err := aes.NewCipher(secret)
		if err != nil {
			return k, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return k, err
		}
		k.ids, k.aeads = append(k.ids, KeyIDOf(secret)), append(k.aeads, aead)
	}
	return k, nil
}

// with is what opens what a key sealed; nil when there is no such key.
func (k *keyring) with(id KeyID) cipher.AEAD {
	for i := range k.ids {
		if k.ids[i] == id {
			return k.aeads[i]
		}
	}
	return nil
}

// String lists the ids.
func (k *keyring) String() string {
	if len(k.ids) == 0 {
		return "none"
	}
	names := make([]string, len(k.ids))
	for i, id := range k.ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

// seal encrypts a secret for a column, with the first key. about says whose it is
// ("registry 7 credentials"), so that what was sealed for one row can't be put in another.
func (d *DB) seal(about string, secret []byte) ([]byte, error) {
	if len(d.keys.ids) == 0 {
		return nil, fmt.Errorf("%s: %w: there is none", about, ErrSealed)
	}
	head, err := hex.AppendDecode([]byte{sealVersion}, []byte(d.keys.ids[0]))
	if err != nil {
		return nil, err
	}
	aead := d.keys.aeads[0]
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	return aead.Seal(slices.Concat(head, nonce), nonce, secret, slices.Concat(head, []byte(about))), nil
}

// unseal decrypts what seal made for the same; nothing for nothing.
func (d *DB) unseal(about string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	id := sealedBy(sealed)
	if id == "" {
		return nil, fmt.Errorf("%s: %w: it is damaged", about, ErrSealed)
	}
	aead := d.keys.with(id)
	if aead == nil {
		return nil, fmt.Errorf("%s: %w: it was sealed with key %s (given: %s)", about, ErrSealed, id, &d.keys)
	}
	head, rest := sealed[:sealHead], sealed[sealHead:]
	if len(rest) < aead.NonceSize() {
		return nil, fmt.Errorf("%s: %w: it is damaged", about, ErrSealed)
	}
	nonce, text := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	secret, err := aead.Open(nil, nonce, text, slices.Concat(head, []byte(about)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: it is damaged, or another row's", about, ErrSealed)
	}
	return secret, nil
}

// keyName is what settings keep under it, sealed: by it a server that has none of the keys
// of the database is known before it seals anything.
const keyName = "key"

// checkKey holds the keys against what the database was sealed with last. The first key
// that there ever is is the one.
func (d *DB) checkKey(ctx context.Context) error {
	if len(d.keys.ids) == 0 {
		return nil
	}
	sealed, err := d.seal(keyName, []byte(keyName))
	if err != nil {
		return err
	}
	if _, err := d.db.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING`, keyName, sealed); err != nil {
		return err
	}
	if err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, keyName).Scan(&sealed); err != nil {
		return err
	}
	if id := sealedBy(sealed); id != "" && d.keys.with(id) == nil {
		if d.anyKey {
			return nil
		}
		return fmt.Errorf("its secrets: %w: they were sealed with key %s (given: %s)", ErrSealed, id, &d.keys)
	}
	_, err = d.unseal(keyName, sealed)
	return err
}

// KeyOfSecrets is the id of the key that a database was sealed with last; empty when
// nothing in it is sealed.
func (d *DB) KeyOfSecrets(ctx context.Context) (KeyID, error) {
	var sealed []byte
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, keyName).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("database: %w", err)
	}
	return sealedBy(sealed), nil
}
