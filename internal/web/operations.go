package web

import (
	"net/http"
	"net/url"
	"strings"
)

// operationRoutes are the pages of those who run the server.
func (s *Site) operationRoutes() map[string]handler {
	return map[string]handler{
		"GET /registries":                     s.registries,
		"POST /registries":                    s.addRegistry,
		"GET /registries/{name}":              s.registry,
		"POST /registries/{name}":             s.changeRegistry,
		"POST /registries/{name}/test":        s.testRegistry,
		"POST /registries/{name}/read":        s.readRegistry,
		"POST /registries/{name}/hook":        s.makeHook,
		"POST /registries/{name}/hook/revoke": s.revokeHook,
		"POST /registries/{name}/delete":      s.deleteRegistry,

		"GET /manifests":              s.manifests,
		"GET /manifests/{id}":         s.manifest,
		"POST /manifests/{id}/rescan": s.rescan,

		"GET /jobs":              s.jobs,
		"POST /jobs/{id}/retry":  s.retryJob,
		"POST /jobs/{id}/cancel": s.cancelJob,

		"GET /notifications":              s.notifications,
		"POST /notifications/{id}/resend": s.resend,

		"GET /receivers":                s.receivers,
		"POST /receivers":               s.addReceiver,
		"GET /receivers/{name}":         s.receiver,
		"POST /receivers/{name}":        s.changeReceiver,
		"POST /receivers/{name}/test":   s.testReceiver,
		"POST /receivers/{name}/pause":  s.pauseReceiver,
		"POST /receivers/{name}/delete": s.deleteReceiver,

		"GET /feeds":       s.feeds,
		"POST /feeds/sync": s.syncFeeds,
		"GET /cluster":     s.cluster,

		"GET /users":                  s.users,
		"POST /users":                 s.addUser,
		"GET /users/{name}":           s.user,
		"POST /users/{name}":          s.changeUser,
		"POST /users/{name}/password": s.resetPassword,
		"POST /users/{name}/delete":   s.deleteUser,

		"GET /account":                     s.account,
		"POST /account/password":           s.changePassword,
		"POST /account/tokens":             s.makeToken,
		"POST /account/tokens/{id}/revoke": s.revokeToken,

		"GET /audit": s.audit,
	}
}

// act does what a button asks for, and goes to a page that tells what was done, or why it
// was not.
func (v *visit) act(method, path string, body any, to, format string, args ...any) error {
	err := v.ask(method, path, body, nil)
	if why := ""; v.refused(err, &why) {
		return v.problem(to, why)
	}
	if err != nil {
		return err
	}
	return v.done(to, format, args...)
}

// remove deletes what a page is of, and goes to the list at a path, or back to the page where
// that is refused.
func (v *visit) remove(at, list, format string, args ...any) error {
	err := v.ask("DELETE", at, nil, nil)
	if why := ""; v.refused(err, &why) {
		return v.problem(at, why)
	}
	if err != nil {
		return err
	}
	return v.done(list, format, args...)
}

// refused is wrong for what has no form to be shown again: what is not there, or not for
// who asks, is an error page.
func (v *visit) refused(err error, text *string) bool {
	switch statusOf(err) {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return false
	}
	return v.wrong(err, text)
}

// back is where a form was that asks to come back to it: a page of the list at path.
func (v *visit) back(path string) string {
	if to := v.r.PostFormValue("back"); strings.HasPrefix(to, path+"?") && ownPath(to) == to {
		return to
	}
	return path
}

// at is the path of a thing, of the API as of the pages: "/registries/NAME/test".
func (v *visit) at(part, parameter string, more ...string) string {
	return strings.Join(append([]string{part, url.PathEscape(v.r.PathValue(parameter))}, more...), "/")
}

// field is what was filled in, without spaces around it.
func (v *visit) field(name string) string { return strings.TrimSpace(v.r.FormValue(name)) }

// linesOf are the lines of a text that say something.
func linesOf(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}
