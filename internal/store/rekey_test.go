package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reopened is a database as an instance with other keys has it.
func reopened(t *testing.T, d *DB, key []byte, former ...[]byte) *DB {
	t.Helper()
	keys, err := newKeyring(key, former)
	if err != nil {
		t.Fatal(err)
	}
	return &DB{db: d.db, pool: d.pool, writing: d.writing, path: d.path, now: d.now, keys: keys}
}

// secretsOf are the secrets that TestRekey has put, or why they can't be read.
func secretsOf(t *testing.T, d *DB, registry, receiver, manifest int64) (secrets []string, errs []error) {
	t.Helper()
	c, err := d.RegistryCredentials(t.Context(), registry)
	secrets, errs = append(secrets, c.Password), append(errs, err)
	for _, get := range []func() (string, error){
		func() (string, error) { return d.HookSecret(t.Context(), registry) },
		func() (string, error) { return d.ReceiverSecret(t.Context(), receiver) },
		func() (string, error) { return d.ScanAuthorization(t.Context(), manifest) },
	} {
		s, err := get()
		secrets, errs = append(secrets, s), append(errs, err)
	}
	return secrets, errs
}

func TestRekey(t *testing.T) {
	old, key, third := bytes.Repeat([]byte{7}, KeySize), bytes.Repeat([]byte{8}, KeySize), bytes.Repeat([]byte{9}, KeySize)
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		registry, err := db.AddRegistry(ctx, &Registry{Name: "harbor", URL: "https://harbor.example"}, &Credentials{Username: "u", Password: "p1"})
		if err != nil {
			t.Fatal(err)
		}
		chat := "https://chat.example/p3"
		receiver := &Receiver{Name: "team", Kind: "slack"}
		_, manifest, _, err := db.RequestScan(ctx, registry, 2, Named{Repository: "web", Tag: "1", Digest: "sha256:" + strings.Repeat("a", 64)}, "{}", "Basic p4")
		if err := errors.Join(err, db.SetHookSecret(ctx, registry, "p2"), db.PutReceiver(ctx, receiver, &chat)); err != nil {
			t.Fatal(err)
		}
		want := []string{"p1", "p2", chat, "Basic p4"}
		read := func(d *DB) []string {
			t.Helper()
			got, errs := secretsOf(t, d, registry, receiver.ID, manifest)
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
			return got
		}
		// One that was not given the key says whose secret it is and by which key, and has none.
		stranger := reopened(t, db, third)
		got, errs := secretsOf(t, stranger, registry, receiver.ID, manifest)
		for i, name := range []string{"registry harbor", "registry harbor", "receiver team", "scan request"} {
			if got[i] != "" || !errors.Is(errs[i], ErrSealed) || !strings.Contains(errs[i].Error(), name) || !strings.Contains(errs[i].Error(), "key "+string(KeyIDOf(old))) {
				t.Errorf("%q, %v", got[i], errs[i])
			}
		}
		if _, err := stranger.Rekey(ctx, false); !errors.Is(err, ErrSealed) || strings.Count(err.Error(), string(KeyIDOf(old))) != 4 {
			t.Errorf("with another key: %v", err)
		}
		if diff := cmp.Diff(want, read(db)); diff != "" {
			t.Error("after what failed:", diff)
		}
		// An instance that has both goes on while the key is changed, and seals with the old one.
		running := reopened(t, db, old, key)
		both := reopened(t, db, key, old)
		done, err := both.Rekey(ctx, false)
		if diff := cmp.Diff(&Rekeyed{Key: KeyIDOf(key), Sealed: 4}, done); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		alone := reopened(t, db, key)
		for _, d := range []*DB{running, both, alone} {
			if diff := cmp.Diff(want, read(d)); diff != "" {
				t.Error(diff)
			}
		}
		if err := running.SetHookSecret(ctx, registry, "p2"); err != nil {
			t.Fatal(err)
		}
		lost, err := alone.LostSecrets(ctx)
		if diff := cmp.Diff([]string{"registry harbor hook secret (key " + string(KeyIDOf(old)) + ")"}, lost); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if done, err := both.Rekey(ctx, false); err != nil || done.Sealed != 1 {
			t.Errorf("again: %+v, %v", done, err)
		}
		if diff := cmp.Diff(want, read(alone)); diff != "" {
			t.Error(diff)
		}
		// What is lost can be forgotten, and the server be used with another key.
		done, err = stranger.Rekey(ctx, true)
		if diff := cmp.Diff([]string{"registry harbor credentials", "registry harbor hook secret", "receiver team secret"}, done.Forgotten[:3]); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if diff := cmp.Diff([]string{"", "", "", ""}, read(stranger)); diff != "" {
			t.Error(diff)
		}
		if id, err := db.KeyOfSecrets(ctx); err != nil || id != KeyIDOf(third) {
			t.Errorf("%s, %v", id, err)
		}
	})
}

// What instances seal while the key is changed is not overwritten by what was there before.
func TestRekeyWhileRunning(t *testing.T) {
	old, key := bytes.Repeat([]byte{7}, KeySize), bytes.Repeat([]byte{8}, KeySize)
	onEngines(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		registry, err := db.AddRegistry(ctx, &Registry{Name: "r", URL: "https://r.example"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		running, both := reopened(t, db, old, key), reopened(t, db, key, old)
		ended := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < 50 && err == nil; i++ {
				err = running.SetHookSecret(ctx, registry, time.Duration(i).String())
			}
			ended <- err
		}()
		for range 5 {
			if _, err := both.Rekey(ctx, false); err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if _, err := both.Rekey(ctx, false); err != nil {
			t.Fatal(err)
		}
		if got, err := reopened(t, db, key).HookSecret(ctx, registry); err != nil || got != "49ns" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
