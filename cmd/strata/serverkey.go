package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/store"
)

// dataDir is where a server keeps its database, key and advisories: the flag, or strata
// in the user's data folder (XDG Base Directory Specification).
func (a *app) dataDir(flag string) (string, error) {
	dir := flag
	if dir == "" {
		if data := a.env("XDG_DATA_HOME"); filepath.IsAbs(data) {
			dir = filepath.Join(data, "strata")
		} else if home := a.env("HOME"); home != "" {
			dir = filepath.Join(home, ".local", "share", "strata")
		} else {
			return "", errors.New("no place for data: neither STRATA_DATA_DIR, XDG_DATA_HOME nor HOME is set; give --data-dir")
		}
	}
	const private = 0o700
	if err := os.MkdirAll(dir, private); err != nil {
		return "", fmt.Errorf("--data-dir: %w", err)
	}
	return dir, nil
}

// keyFlags say which keys seal the secrets of a server.
type keyFlags struct{ file string }

func (k *keyFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&k.file, "key-file", "", "`FILE` of the key that seals secrets in the database, one a line, the newest first, or STRATA_KEY with the key itself (default server.key in the data folder, made at the first start)")
}

// given are the keys that seal secrets in the database: those of STRATA_KEY, or of the key
// file; the first one seals. They are none where no file is named and none is there.
func (k *keyFlags) given(a *app, dir string) ([][]byte, error) {
	if text := a.env("STRATA_KEY"); text != "" {
		if k.file != "" {
			return nil, errors.New("STRATA_KEY and --key-file exclude each other")
		}
		keys, err := parseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("STRATA_KEY: %w", err)
		}
		return keys, nil
	}
	const most = 4 << 10
	path := k.path(dir)
	b, err := readBounded(path, most)
	if errors.Is(err, fs.ErrNotExist) && k.file == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	keys, err := parseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

// path is where the key file is.
func (k *keyFlags) path(dir string) string {
	if k.file == "" {
		return filepath.Join(dir, "server.key")
	}
	return k.file
}

// keyOptions are those by which the database is opened; without keys there are none.
func keyOptions(keys [][]byte) store.DBOptions {
	if len(keys) == 0 {
		return store.DBOptions{}
	}
	return store.DBOptions{Key: keys[0], Former: keys[1:]}
}

// serverKeys are the keys of a server, which makes one where none is named.
func (a *app) serverKeys(o *serveOptions, dir string, log *slog.Logger) ([][]byte, error) {
	keys, err := o.key.given(a, dir)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	key, err := makeKey(o.key.path(dir), o.database, log)
	return [][]byte{key}, err
}

// parseKeys reads keys between spaces, as hexadecimal digits or in base64.
func parseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for _, word := range strings.Fields(text) {
		key, err := hex.DecodeString(word)
		if err != nil {
			key, err = base64.StdEncoding.DecodeString(word)
		}
		if err != nil || len(key) != store.KeySize {
			return nil, fmt.Errorf("key %d: want %d random bytes in hexadecimal or base64, as of `openssl rand -hex %d`", len(keys)+1, store.KeySize, store.KeySize)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no key: want %d random bytes in hexadecimal or base64, as of `openssl rand -hex %d`", store.KeySize, store.KeySize)
	}
	return keys, nil
}

// makeKey makes the key file of a first start, for its owner alone. Of a cluster every
// instance needs the same.
func makeKey(path, database string, log *slog.Logger) (key []byte, err error) {
	key = make([]byte, store.KeySize)
	_, _ = rand.Read(key) // it never fails
	const owner = 0o600
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, owner)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if database == "" {
		log.Info("made a key: keep a copy apart from the database's", "file", path)
	} else {
		log.Warn("made a key: every instance on this database needs the same one, as --key-file or STRATA_KEY; without it the secrets in the database are lost", "file", path)
	}
	return key, nil
}

// openError says what to do about keys that aren't the database's.
func openError(err error, keyFile string) error {
	if errors.Is(err, store.ErrSealed) {
		if keyFile == "" {
			keyFile = "server.key in the data folder"
		}
		return fmt.Errorf("%w\ngive the key that the database was made with, by --key-file or STRATA_KEY; now it is that of %s\nwhen that key is lost, strata admin rekey --forget deletes the secrets, to be given anew", err, keyFile)
	}
	return err
}
