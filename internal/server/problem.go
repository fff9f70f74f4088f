package server

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// answer writes an error as a problem document, outside of huma.
func (s *Server) answer(w http.ResponseWriter, _ *http.Request, err error) {
	var status huma.StatusError
	if !errors.As(err, &status) {
		status = huma.Error500InternalServerError("something went wrong in the server; its log has the reason")
	}
	var headers huma.HeadersError
	if errors.As(err, &headers) {
		for name, values := range headers.GetHeaders() {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status.GetStatus())
	_ = json.NewEncoder(w).Encode(status) // who went away needs no answer
}

// writeError is answer within huma.
func (s *Server) writeError(c huma.Context, err huma.StatusError) {
	c.SetHeader("Content-Type", problemType)
	c.SetStatus(err.GetStatus())
	_ = json.NewEncoder(c.BodyWriter()).Encode(err)
}
