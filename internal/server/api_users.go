package server

import (
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/store"
)

// A User is someone who may log in.
type User struct {
	Name      string    `json:"name"`
	Email     string    `json:"email,omitempty"`
	OpenID    bool      `json:"openid" doc:"the OpenID provider tells of this user and what it is granted"`
	Disabled  bool      `json:"disabled"`
	Grants    []Grant   `json:"grants" nullable:"false"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at,omitzero" doc:"the last login"`
}

// A Token is an API token; its secret is seen once, when it is made.
type Token struct {
	ID         int64     `json:"id"`
	Name       string    `json:"name"`
	User       string    `json:"user"`
	Role       auth.Role `json:"role"`
	Repository string    `json:"repository"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	UsedAt     time.Time `json:"used_at,omitzero" doc:"the last use, to a minute"`
	Secret     string    `json:"secret,omitempty" doc:"only in the answer that made it"`
}

func (s *Server) registerUsers() {
	huma.Register(s.api, operation("GET", "/users", "list-users", "List the users", "users", auth.Administrator), s.listUsers)
	create := operation("POST", "/users", "create-user", "Make a user with a password", "users", auth.Administrator)
	create.DefaultStatus = http.StatusCreated
	huma.Register(s.api, create, s.createUser)
	huma.Register(s.api, operation("GET", "/users/{name}", "get-user", "Get a user", "users", auth.Administrator), s.getUser)
	huma.Register(s.api, operation("PATCH", "/users/{name}", "update-user", "Change a user: what is left out stays", "users", auth.Administrator), s.updateUser)
	huma.Register(s.api, operation("DELETE", "/users/{name}", "delete-user", "Delete a user with its sessions and tokens", "users", auth.Administrator), s.deleteUser)
	huma.Register(s.api, operation("GET", "/tokens", "list-tokens", "List your tokens; an administrator's list has everyone's", "users", auth.Known), s.listTokens)
	token := operation("POST", "/tokens", "create-token", "Make a token with no more than you are granted", "users", auth.Known)
	token.DefaultStatus = http.StatusCreated
	huma.Register(s.api, token, s.createToken)
	huma.Register(s.api, operation("DELETE", "/tokens/{id}", "delete-token", "Delete a token of yours; administrators, anyone's", "users", auth.Known), s.deleteToken)
	huma.Register(s.api, operation("GET", "/audit", "list-audit", "List who changed what, from the newest", "server", auth.Security), s.listAudit)
}

func userOf(u *store.User) User {
	out := User{Name: u.Name, Email: u.Email, OpenID: u.Subject != "", Disabled: u.Disabled, CreatedAt: u.CreatedAt, SeenAt: u.SeenAt, Grants: []Grant{}}
	for _, g := range u.Grants {
		out.Grants = append(out.Grants, Grant{auth.Role(g.Role), g.Repository})
	}
	return out
}

// checkEmail refuses what is no mail address; there may be none.
func checkEmail(address string) error {
	if a, err := mail.ParseAddress(address); address != "" && (err != nil || a.Address != address) {
		return huma.Error422UnprocessableEntity(fmt.Sprintf("email %q: want a mail address, as ann@example.com", address))
	}
	return nil
}

// storeGrants are grants as they are kept; ErrInvalid for one that names nothing.
func storeGrants(grants []Grant) ([]store.Grant, error) {
	out := make([]store.Grant, 0, len(grants))
	for _, g := range grants {
		if err := store.CheckGlobs(g.Repository); err != nil {
			return nil, fmt.Errorf("role %s: %w", g.Role, err)
		}
		out = append(out, store.Grant{Role: string(g.Role), Repository: g.Repository})
	}
	return out, nil
}

func (s *Server) listUsers(ctx context.Context, in *PageInput) (*struct{ Body Page[User] }, error) {
	var after string
	if err := decodeCursor("users", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Users(ctx, after, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	users := make([]User, 0, len(rows))
	for i := range rows {
		users = append(users, userOf(&rows[i]))
	}
	return &struct{ Body Page[User] }{pageOf("users", users, in.Limit, func(u *User) any { return u.Name })}, nil
}

func (s *Server) createUser(ctx context.Context, in *struct {
	Body struct {
		Name     string  `json:"name" minLength:"1" maxLength:"200" pattern:"^[^\\s/\\x00-\\x1f]+$" patternDescription:"a name without spaces and slashes"`
		Email    string  `json:"email,omitempty" maxLength:"300"`
		Password string  `json:"password" maxLength:"2000" doc:"at least 12 characters"`
		Grants   []Grant `json:"grants,omitempty" maxItems:"100"`
	}
}) (*struct{ Body User }, error) {
	if err := checkEmail(in.Body.Email); err != nil {
		return nil, err
	}
	hash, err := s.access.NewHash(ctx, in.Body.Name, in.Body.Password)
	if err != nil {
		return nil, s.failAuth(ctx, err)
	}
	grants, err := storeGrants(in.Body.Grants)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	u := &store.User{Name: in.Body.Name, Email: in.Body.Email, Password: hash, Grants: grants}
	if _, err := s.o.DB.CreateUser(ctx, u); err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.changedUser(ctx, "create-user", u.Name)
}

type userInput struct {
	Name string `path:"name" maxLength:"200"`
}

func (s *Server) getUser(ctx context.Context, in *userInput) (*struct{ Body User }, error) {
	u, err := s.o.DB.UserNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body User }{userOf(u)}, nil
}

// changedUser writes the change down and answers with the user as it is then.
func (s *Server) changedUser(ctx context.Context, action, name string) (*struct{ Body User }, error) {
	u, err := s.o.DB.UserNamed(ctx, name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	detail := ""
	for _, g := range u.Grants {
		detail += g.Role + " over " + g.Repository + "; "
	}
	if u.Disabled {
		detail += "disabled"
	}
	if err := s.audit(ctx, action, name, detail); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body User }{userOf(u)}, nil
}

func (s *Server) updateUser(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"200"`
	Body struct {
		Email    *string  `json:"email,omitempty" maxLength:"300"`
		Password *string  `json:"password,omitempty" maxLength:"2000" doc:"at least 12 characters; all sessions of the user end"`
		Disabled *bool    `json:"disabled,omitempty" doc:"true ends all sessions, and tokens are refused"`
		Grants   *[]Grant `json:"grants,omitempty" maxItems:"100" doc:"all of them"`
	}
}) (*struct{ Body User }, error) {
	u, err := s.o.DB.UserNamed(ctx, in.Name)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	b := in.Body
	if u.Subject != "" && (b.Password != nil || b.Grants != nil) {
		return nil, huma.Error422UnprocessableEntity("the OpenID provider says what this user may do; change it there")
	}
	var hash string
	if b.Password != nil {
		if hash, err = s.access.NewHash(ctx, u.Name, *b.Password); err != nil {
			return nil, s.failAuth(ctx, err)
		}
	}
	if b.Email != nil {
		if err := checkEmail(*b.Email); err != nil {
			return nil, err
		}
	}
	if err := s.o.DB.EditUser(ctx, u.ID, func(now *store.User) error {
		if b.Email != nil {
			now.Email = *b.Email
		}
		if b.Disabled != nil {
			now.Disabled = *b.Disabled
		}
		if b.Grants != nil {
			if now.Grants, err = storeGrants(*b.Grants); err != nil {
				return err
			}
		}
		if b.Password != nil {
			now.Password = hash
		}
		return nil
	}); err != nil {
		return nil, s.fail(ctx, err)
	}
	return s.changedUser(ctx, "update-user", u.Name)
}

func (s *Server) deleteUser(ctx context.Context, in *userInput) (*struct{}, error) {
	if err := s.o.DB.DeleteUser(ctx, in.Name); err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, s.fail(ctx, s.audit(ctx, "delete-user", in.Name, ""))
}

func tokenOf(t *store.Token) Token {
	return Token{ID: t.ID, Name: t.Name, User: t.User, Role: auth.Role(t.Role), Repository: t.Repository, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, UsedAt: t.UsedAt}
}

// owner is the user whose tokens someone may see and delete; 0 for everyone's.
func owner(who *auth.Identity) int64 {
	if who.May(auth.Administrator) {
		return 0
	}
	return who.UserID
}

func (s *Server) listTokens(ctx context.Context, in *PageInput) (*struct{ Body Page[Token] }, error) {
	var after int64
	if err := decodeCursor("tokens", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Tokens(ctx, owner(auth.From(ctx)), after, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	tokens := make([]Token, 0, len(rows))
	for i := range rows {
		tokens = append(tokens, tokenOf(&rows[i]))
	}
	return &struct{ Body Page[Token] }{pageOf("tokens", tokens, in.Limit, func(t *Token) any { return t.ID })}, nil
}

// createToken makes one. A token makes tokens only where it administers the server: what
// has leaked can't give itself a longer life.
func (s *Server) createToken(ctx context.Context, in *struct {
	Body struct {
		Name       string    `json:"name" minLength:"1" maxLength:"200"`
		Role       auth.Role `json:"role" enum:"viewer,developer,security,administrator"`
		Repository string    `json:"repository,omitempty" default:"**" minLength:"1" maxLength:"500" doc:"glob over REGISTRY/REPOSITORY"`
		Days       *int      `json:"days,omitempty" default:"90" minimum:"0" maximum:"3650" doc:"how long it is good; 0 is for ever"`
	}
}) (*struct{ Body Token }, error) {
	who := auth.From(ctx)
	if !who.HasSession() && !who.May(auth.Administrator) {
		return nil, huma.Error403Forbidden("log in to make tokens: a token makes others only for administrators")
	}
	var until time.Time
	// A pointer, since the default is taken for a zero, too, which is for ever here.
	if d := in.Body.Days; d != nil && *d > 0 {
		until = s.o.Now().AddDate(0, 0, *d)
	}
	g := auth.Grant{Role: in.Body.Role, Repository: in.Body.Repository}
	secret, id, err := s.access.NewToken(ctx, who, in.Body.Name, g, until)
	if err != nil {
		return nil, s.failAuth(ctx, err)
	}
	if err := s.audit(ctx, "create-token", in.Body.Name, string(g.Role)+" over "+g.Repository); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Token }{Token{ID: id, Name: in.Body.Name, User: who.Name, Role: g.Role, Repository: g.Repository, CreatedAt: s.o.Now(), ExpiresAt: until, Secret: secret}}, nil
}

func (s *Server) deleteToken(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1"`
}) (*struct{}, error) {
	name, err := s.o.DB.DeleteToken(ctx, owner(auth.From(ctx)), in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return nil, s.fail(ctx, s.audit(ctx, "delete-token", name, ""))
}

func (s *Server) listAudit(ctx context.Context, in *PageInput) (*struct {
	Body Page[store.AuditEntry]
}, error) {
	var before int64
	if err := decodeCursor("audit", in.Cursor, &before); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.AuditLog(ctx, before, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct {
		Body Page[store.AuditEntry]
	}{pageOf("audit", rows, in.Limit, func(e *store.AuditEntry) any { return e.ID })}, nil
}
