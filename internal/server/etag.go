package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// ConditionalInput is what operations may be asked whose answers have an ETag.
type ConditionalInput struct {
	IfNoneMatch string `header:"If-None-Match" doc:"ETag of what is known: 304 when it is still so"`
}

// etagOf is the ETag of what these parts make: digests, versions, times.
func etagOf(parts ...string) string {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return `"` + hex.EncodeToString(h[:16]) + `"`
}

// unless is the answer 304 to who has this already, nil for others (RFC 9110, 13.1.2).
// It is asked before the answer is made, which is the use of it.
func (in *ConditionalInput) unless(etag string) error {
	for _, known := range strings.Split(in.IfNoneMatch, ",") {
		known = strings.TrimPrefix(strings.TrimSpace(known), "W/")
		if known == etag || known == "*" {
			return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"Etag": {etag}, "Cache-Control": {revalidate}})
		}
	}
	return nil
}

// revalidate is the Cache-Control of what has an ETag: kept by the client, and asked for
// each time.
const revalidate = "private, no-cache"
