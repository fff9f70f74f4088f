package server

import (
	"context"
	"errors"
	"io/fs"

	"strata/internal/source"
	"strata/internal/store"
)

// hookedByName finds the registry that notifications are sent for. One that is paused
// takes them, and nothing comes of it: what was pushed meanwhile is found when it is
// crawled again.
func (s *Server) hookedByName(ctx context.Context, name string) (*hookedRegistry, error) {
	r, err := s.o.DB.RegistryNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	if r.Kind != store.Crawled {
		return &hookedRegistry{}, nil
	}
	secret, err := s.o.DB.HookSecret(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return &hookedRegistry{
		ID: r.ID, Secret: secret,
		Wants: func(repository, tag string) bool { return !r.Paused && r.Settings.Wants(repository, tag) },
		Digest: func(ctx context.Context, repository, tag string) (string, error) {
			return s.askDigest(ctx, r, repository, tag)
		},
	}, nil
}

// askDigest asks a registry for the digest of a tag.
func (s *Server) askDigest(ctx context.Context, r *store.Registry, repository, tag string) (string, error) {
	a, err := s.registries.Of(ctx, r.ID)
	if err != nil {
		return "", err
	}
	in, err := source.OpenRepository(ctx, a.Host+"/"+repository, a.Options)
	if err != nil {
		return "", missing(err)
	}
	defer in.Close()
	head, err := in.Head(ctx, tag)
	return string(head.Digest), missing(err)
}

// missing makes what a registry doesn't have ErrNotFound.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(store.ErrNotFound, err)
	}
	return err
}
