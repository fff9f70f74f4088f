package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"strata/internal/image"
)

// archiveStream is the Content of a compressed archive: its layers come by in
// the order of the file, one at a time. Nothing is written to disk.
type archiveStream struct {
	archive *archive
	nameOf  func(image.Layer) string
}

// awaited is a wanted layer with the entry that holds it.
type awaited struct {
	layer image.Layer
	entry string
}

// Each implements image.Content. A blob that several wanted layers share passes
// once for each: the file is then read again.
func (s *archiveStream) Each(ctx context.Context, want []image.Layer, _ int, visit func(context.Context, image.Blob) error) error {
	var waiting []awaited
	for _, l := range want {
		name, _, err := s.archive.find(s.nameOf(l))
		if err != nil {
			if err := visitFailing(ctx, []image.Layer{l}, missing(l, s.nameOf(l), err), visit); err != nil {
				return err
			}
			continue
		}
		waiting = append(waiting, awaited{l, name})
	}
	for len(waiting) > 0 {
		left, err := s.pass(ctx, waiting, visit)
		if err != nil {
			return err
		}
		waiting = left
	}
	return ctx.Err()
}

// pass reads the archive once, and gives the layers that wait for another pass.
// It always serves some of them.
func (s *archiveStream) pass(ctx context.Context, waiting []awaited, visit func(context.Context, image.Blob) error) ([]awaited, error) {
	byEntry := map[string]image.Layer{}
	var again []awaited
	for _, w := range waiting {
		if _, taken := byEntry[w.entry]; taken {
			again = append(again, w)
			continue
		}
		byEntry[w.entry] = w.layer
	}
	err := s.read(ctx, byEntry, visit)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return again, err
}

// read visits the wanted entries, then those that a broken archive doesn't give.
func (s *archiveStream) read(ctx context.Context, byEntry map[string]image.Layer, visit func(context.Context, image.Blob) error) error {
	why := errors.New("is not in the archive any more: the file was changed")
	stream, err := s.archive.stream(ctx)
	if err != nil {
		why = err
	} else {
		defer stream.Close()
		tr := tar.NewReader(stream)
		for len(byEntry) > 0 {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				why = fmt.Errorf("can't be read, the archive is damaged: %w", err)
				break
			}
			l, wanted := byEntry[cleanName(h.Name)]
			if !wanted || h.Typeflag != tar.TypeReg {
				continue
			}
			delete(byEntry, cleanName(h.Name))
			if err := visitPassing(ctx, l, tr, visit); err != nil {
				return err
			}
		}
	}
	for _, l := range byEntry {
		if err := visitFailing(ctx, []image.Layer{l}, missing(l, s.nameOf(l), why), visit); err != nil {
			return err
		}
	}
	return nil
}
