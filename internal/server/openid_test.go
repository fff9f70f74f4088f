package server

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"strata/internal/auth"
	"strata/internal/store"
)

// A provider is an OpenID provider (OpenID Connect Core 1.0 and Discovery 1.0) with one
// user, who agrees at once.
type provider struct {
	*httptest.Server
	key    *rsa.PrivateKey
	claims map[string]any
	// asked is what the last login was begun with; nonce overrules its nonce.
	asked url.Values
	nonce string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	const bits = 2048
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key, claims: map[string]any{"sub": "4711", "preferred_username": "ann", "email": "ann@corp.example"}}
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"response_types_supported": []string{"code"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		b64 := base64.RawURLEncoding.EncodeToString
		write(w, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		p.asked = r.URL.Query()
		http.Redirect(w, r, p.asked.Get("redirect_uri")+"?code=c0de&state="+url.QueryEscape(p.asked.Get("state")), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if id != "strata" || secret != "s3cret" || r.FormValue("code") != "c0de" || p.asked.Get("code_challenge_method") != "S256" ||
			base64.RawURLEncoding.EncodeToString(challenge[:]) != p.asked.Get("code_challenge") {
			w.WriteHeader(http.StatusBadRequest)
			write(w, map[string]string{"error": "invalid_grant"})
			return
		}
		nonce := p.asked.Get("nonce")
		if p.nonce != "" {
			nonce = p.nonce
		}
		write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.sign(t, nonce)})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// sign makes the ID token of the user.
func (p *provider) sign(t *testing.T, nonce string) string {
	claims := map[string]any{"iss": p.URL, "aud": "strata", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(), "nonce": nonce}
	for name, v := range p.claims {
		claims[name] = v
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Error(err)
	}
	return text + "." + b64(signature)
}

func TestOpenID(t *testing.T) {
	onEngines(t, func(t *testing.T, db *store.DB) {
		p := newProvider(t)
		openID := &auth.OpenID{
			Issuer: p.URL, ClientID: "strata", ClientSecret: "s3cret", RoleClaim: "realm_access.roles",
			Roles: map[string][]auth.Grant{"appsec": {{Role: auth.Security, Repository: "**"}}, "web": {{Role: auth.Viewer, Repository: "r/web/**"}}},
		}
		s := newTestServer(t, db, func(o *Options) { o.OpenID = openID })
		listener := httptest.NewServer(s.Handler())
		defer listener.Close()
		openID.RedirectURL = listener.URL + "/api/v1/login/openid/callback"
		// login goes through it in a browser, and tells who the server then says one is.
		login := func() (status int, me Me) {
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			browser := &http.Client{Jar: jar}
			answer, err := browser.Get(listener.URL + "/api/v1/login/openid")
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return answer.StatusCode, me
			}
			if answer, err = browser.Get(listener.URL + "/api/v1/me"); err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if err := json.NewDecoder(answer.Body).Decode(&me); err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode, me
		}
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("without a group: %d", status)
		}
		roles := func(groups ...string) { p.claims["realm_access"] = map[string]any{"roles": groups} }
		roles("appsec", "other")
		if status, me := login(); status != http.StatusOK || me.Name != "ann" || len(me.Grants) != 1 || me.Grants[0].Role != auth.Security {
			t.Errorf("%d %+v", status, me)
		}
		// The next login brings what the provider says then.
		roles("web")
		if status, me := login(); status != http.StatusOK || len(me.Grants) != 1 || me.Grants[0] != (Grant{auth.Viewer, "r/web/**"}) || !me.OpenID {
			t.Errorf("%d %+v", status, me)
		}
		// Who has no role there any more has none here, whatever they made before.
		ann, err := db.UserNamed(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		web := auth.Grant{Role: auth.Viewer, Repository: "r/web/**"}
		token, _, err := s.access.NewToken(t.Context(), &auth.Identity{Name: "ann", UserID: ann.ID, Grants: []auth.Grant{web}}, "ci", web, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.callAs(t, token, "GET", "/api/v1/images", nil, nil); got != http.StatusOK {
			t.Errorf("token: %d", got)
		}
		roles()
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("without a group any more: %d", status)
		}
		if got := s.callAs(t, token, "GET", "/api/v1/images", nil, nil); got != http.StatusForbidden {
			t.Errorf("token of who has no role any more: %d", got)
		}
		roles("web")
		if got := s.call(t, "PATCH", "/api/v1/users/ann", map[string]any{"disabled": true}, nil); got != http.StatusOK {
			t.Fatal(got)
		}
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("disabled: %d", status)
		}
		// A name that a local user has is not given to another one.
		p.claims["sub"], p.claims["preferred_username"] = "4712", "admin"
		if status, _ := login(); status != http.StatusConflict {
			t.Errorf("a taken name: %d", status)
		}
		// What is no name is passed over.
		p.claims["sub"], p.claims["preferred_username"], p.claims["email"] = "4713", "root\n/x", "eve@example.com"
		if status, me := login(); status != http.StatusOK || me.Name != "eve@example.com" {
			t.Errorf("%d %+v", status, me)
		}
		p.claims["sub"], p.claims["preferred_username"] = "4714", "eve"
		p.nonce = "replayed"
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("another nonce: %d", status)
		}
		p.nonce = ""
		p.claims["aud"] = "another"
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("for another client: %d", status)
		}
		delete(p.claims, "aud")
		if p.key, _ = rsa.GenerateKey(rand.Reader, 2048); p.key == nil {
			t.Fatal("no key")
		}
		if status, _ := login(); status != http.StatusUnauthorized {
			t.Errorf("another's signature: %d", status)
		}
		// A callback that this browser did not begin.
		if w := s.ask("GET", "/api/v1/login/openid/callback?code=c0de&state=", nil); w.Code != http.StatusUnauthorized {
			t.Errorf("without a flow: %d", w.Code)
		}
		flow := http.Header{"Cookie": {"strata-login=" + encodeCursor("login", auth.Flow{State: "s", Nonce: "n", Verifier: "v"})}}
		if w := s.ask("GET", "/api/v1/login/openid/callback?code=c0de&state=x", flow); w.Code != http.StatusUnauthorized {
			t.Errorf("another state: %d", w.Code)
		}
		// A browser is led back to where it can be tried again.
		flow.Set("Accept", "text/html,*/*;q=0.8")
		w := s.ask("GET", "/api/v1/login/openid/callback?code=c0de&state=x", flow)
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/login?failed=401" {
			t.Errorf("status %d, to %s", w.Code, to)
		} else if page := s.ask("GET", to, nil).Body.String(); !strings.Contains(page, "was not accepted") || !strings.Contains(page, "/api/v1/login/openid") {
			t.Errorf("it says: %s", page)
		}
		if cookies := s.ask("GET", "/api/v1/login/openid", nil).Result().Cookies(); len(cookies) != 1 || !cookies[0].HttpOnly || !strings.HasPrefix(cookies[0].Name, "strata-login") {
			t.Errorf("%v", cookies)
		}
	})
}
