package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
)

// authenticate gives the request who sends it. A cookie comes with every request
// that a browser is made to send, and a login would be as who makes it: what changes
// something must come from pages of this server, unless it has a token, then
// (net/http.CrossOriginProtection). Registries and other programs are no browsers.
func (s *Server) authenticate(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	if s.o.PublicURL != "" {
		_ = sameOrigin.AddTrustedOrigin(s.o.PublicURL) // New has seen that it is one
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ofRegistry(r) {
			next.ServeHTTP(w, r)
			return
		}
		who, err := s.access.Authenticate(r)
		if err != nil {
			s.answer(w, r, s.failAuth(r.Context(), err))
			return
		}
		if who == nil || who.HasSession() {
			if err := sameOrigin.Check(r); err != nil {
				s.answer(w, r, huma.Error403Forbidden("this request comes from another site: "+err.Error()))
				return
			}
		}
		if who != nil {
			noteOf(r.Context()).who = who.Name
		}
		next.ServeHTTP(w, r.WithContext(auth.With(r.Context(), who)))
	})
}

// ofRegistry tells the requests that registries send: their credentials are no one's
// here, and are checked by the handlers.
func ofRegistry(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/hooks/") || strings.HasPrefix(r.URL.Path, "/scanner/")
}

// authorise lets through who has the role of the operation; one without a role is
// for no one.
func (s *Server) authorise(c huma.Context, next func(huma.Context)) {
	role, ok := c.Operation().Metadata["role"].(auth.Role)
	if !ok {
		s.writeError(c, huma.Error403Forbidden("this operation is for no one"))
		return
	}
	if role == auth.Anyone {
		next(c)
		return
	}
	who := auth.From(c.Context())
	switch {
	case who == nil:
		c.SetHeader("WWW-Authenticate", `Bearer realm="strata"`)
		s.writeError(c, huma.Error401Unauthorized("log in, or send a token: Authorization: Bearer strata_…"))
	case !permitted(who, role, c.Operation()):
		s.writeError(c, huma.Error403Forbidden("this needs the role "+string(role)+overAll(c.Operation())))
	default:
		next(c)
	}
}

// permitted tells whether someone may ask for an operation: what is about single
// repositories by a grant over any (the handler leaves out what isn't in its scope),
// what is about the whole server by one over all.
func permitted(who *auth.Identity, role auth.Role, op *huma.Operation) bool {
	switch {
	case role == auth.Known:
		return true
	case isScoped(op):
		return len(who.Scope(role)) > 0
	}
	return who.May(role)
}

func overAll(op *huma.Operation) string {
	if isScoped(op) {
		return ""
	}
	return " over all repositories"
}

// isScoped tells whether a role over some repositories is enough.
func isScoped(op *huma.Operation) bool { b, _ := op.Metadata["scoped"].(bool); return b }

// whole marks an operation of viewers whose handler tells of all repositories: a role
// over some is not enough.
func whole(op huma.Operation) huma.Operation {
	op.Metadata["scoped"] = false
	return op
}

// audit writes to the audit log what who asks has changed: action is the id of the
// operation, target what was changed by name. It is called before the answer, so that
// a change that can't be written down is told as an error.
func (s *Server) audit(ctx context.Context, action, target, detail string) error {
	return s.o.DB.Audit(ctx, auth.From(ctx).Actor(), action, target, detail)
}
