package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"strata/internal/inventory"
)

// MaxSubmittedLayer bounds what a submitted layer is, compressed as it is sent, in
// bytes. The largest of real images, with 100,000 files, has some 3 MB.
const MaxSubmittedLayer = 32 << 20

// What one may decode to: the bytes of its document and listing, the objects in the
// document, which take some hundred times the bytes that an empty one has, and the bytes
// that its paths take in memory. Real ones need less than a tenth of it.
const (
	maxSubmittedDecoded = 64 << 20
	maxSubmittedObjects = 500_000
	maxSubmittedPaths   = 256 << 20
)

// EncodeLayer is what is in a layer in the compact form in which it is kept: zstd of
// the length of its JSON, the JSON, and the listing of its files.
func EncodeLayer(l *inventory.Layer) ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10))
	if err != nil {
		return nil, err
	}
	c := Cache{enc: enc}
	b, err := c.encode(l)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.DiffID, errors.Join(err, enc.Close()))
	}
	return b, enc.Close()
}

// DecodeLayer reads what EncodeLayer wrote, from anyone: it is bounded, and all in it
// is text that the database takes.
func DecodeLayer(b []byte) (*inventory.Layer, error) {
	if len(b) > MaxSubmittedLayer {
		return nil, fmt.Errorf("layer: larger than %d bytes", MaxSubmittedLayer)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxSubmittedDecoded))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	l, err := decodeSubmitted(dec, b)
	if err != nil {
		return nil, fmt.Errorf("layer: %w", err)
	}
	return l, nil
}

func decodeSubmitted(dec *zstd.Decoder, b []byte) (*inventory.Layer, error) {
	raw, err := dec.DecodeAll(b, nil)
	if err != nil {
		return nil, err
	}
	n, size := binary.Uvarint(raw)
	if size <= 0 || n > uint64(len(raw)-size) {
		return nil, errors.New("it is cut off")
	}
	doc, listing := raw[size:size+int(n)], raw[size+int(n):]
	if bytes.Count(doc, []byte{'{'}) > maxSubmittedObjects {
		return nil, fmt.Errorf("more than %d objects", maxSubmittedObjects)
	}
	l := &inventory.Layer{}
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields() // another version of the program would lose what they say
	if err := d.Decode(l); err != nil {
		return nil, err
	}
	if err := l.DiffID.Validate(); err != nil {
		return nil, err
	}
	if l.Size < 0 || l.Entries < 0 {
		return nil, errors.New("a size is negative")
	}
	if err := l.Paths.UnmarshalAtMost(listing, maxSubmittedPaths); err != nil {
		return nil, err
	}
	if _, err := l.FileDigests(l.Paths); err != nil {
		return nil, err
	}
	return l, plainTexts(reflect.ValueOf(l).Elem())
}

// maxText bounds a text in a layer; licences of packages are the longest.
const maxText = 1 << 20

// plainTexts is an error for texts that no analyzer writes and PostgreSQL doesn't
// take: those with a NUL byte, and what is no UTF-8.
func plainTexts(v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); strings.IndexByte(s, 0) >= 0 {
			return errors.New("a text with a NUL byte")
		} else if !utf8.ValidString(s) {
			return errors.New("a text that is no UTF-8")
		} else if len(s) > maxText {
			return fmt.Errorf("a text of %d bytes", len(s))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if err := plainTexts(v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if err := plainTexts(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := errors.Join(plainTexts(it.Key()), plainTexts(it.Value())); err != nil {
				return err
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return plainTexts(v.Elem())
		}
	}
	return nil
}
