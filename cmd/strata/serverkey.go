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

// serverKey is the key that seals secrets in the database: STRATA_KEY, or that of the
// key file, which is made where none is named.
func (a *app) serverKey(o *serveOptions, dir string, log *slog.Logger) ([]byte, error) {
	if text := a.env("STRATA_KEY"); text != "" {
		if o.keyFile != "" {
			return nil, errors.New("STRATA_KEY and --key-file exclude each other")
		}
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("STRATA_KEY: %w", err)
		}
		return key, nil
	}
	path := o.keyFile
	if path == "" {
		path = filepath.Join(dir, "server.key")
	}
	const most = 4 << 10
	b, err := readBounded(path, most)
	if errors.Is(err, fs.ErrNotExist) && o.keyFile == "" {
		return makeKey(path, o.database, log)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	key, err := parseKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

// parseKey reads a key as hexadecimal digits or in base64.
func parseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	key, err := hex.DecodeString(text)
	if err != nil {
		key, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(key) != store.KeySize {
		return nil, fmt.Errorf("want %d random bytes in hexadecimal or base64, as of `openssl rand -hex %d`", store.KeySize, store.KeySize)
	}
	return key, nil
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

// openError says what to do about a key that isn't the database's.
func openError(err error, keyFile string) error {
	if errors.Is(err, store.ErrSealed) {
		if keyFile == "" {
			keyFile = "server.key in the data folder"
		}
		return fmt.Errorf("%w\ngive the key that the database was made with, by --key-file or STRATA_KEY; now it is that of %s", err, keyFile)
	}
	return err
}
