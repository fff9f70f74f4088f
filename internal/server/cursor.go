package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"
)

// encodeCursor makes the cursor of the next page of a list of the key of the last row
// of this one; the list's name keeps cursors of other lists, or of the same in another
// order, apart. Clients can't but hand it back.
func encodeCursor(list string, key any) string {
	b, err := json.Marshal([]any{list, key})
	if err != nil {
		panic("server: a cursor of " + list + ": " + err.Error()) // keys are numbers and strings
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor reads into key, which stays as it is for the empty cursor of the first
// page. The error is the client's (400), and an answer.
func decodeCursor(list, cursor string, key any) error {
	if cursor == "" {
		return nil
	}
	var parts []json.RawMessage
	var of string
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(b, &parts)
	}
	if err != nil || len(parts) != 2 || json.Unmarshal(parts[0], &of) != nil || of != list {
		return huma.Error400BadRequest("cursor: not one of this list; take it from next of the page before")
	}
	d := json.NewDecoder(bytes.NewReader(parts[1]))
	d.DisallowUnknownFields()
	if err := d.Decode(key); err != nil {
		return huma.Error400BadRequest("cursor: not one of this list; take it from next of the page before")
	}
	return nil
}

// pageOf makes a page of rows, of which one more than the limit was asked for: the
// cursor is made of the key of the last row that is on the page.
func pageOf[T any](list string, rows []T, limit int, key func(*T) any) Page[T] {
	p := Page[T]{Items: rows}
	if len(rows) > limit {
		p.Items = rows[:limit]
		p.Next = encodeCursor(list, key(&rows[limit-1]))
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return p
}
