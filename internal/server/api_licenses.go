package server

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
)

// A LicenseClass is a class of licences with how many are in it. (An example of a
// handler; replaced by the real list.)
type LicenseClass struct {
	Class string `json:"class"`
}

func (s *Server) registerLicenses() {
	huma.Register(s.api, operation("GET", "/license-classes", "list-license-classes", "List the classes of licences", "licences", auth.Viewer), s.listLicenseClasses)
}

func (s *Server) listLicenseClasses(ctx context.Context, in *PageInput) (*struct{ Body Page[LicenseClass] }, error) {
	if err := s.o.DB.Ping(ctx); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[LicenseClass] }{Body: Page[LicenseClass]{Items: []LicenseClass{{Class: "permissive"}}}}, nil
}
