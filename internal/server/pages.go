package server

import (
	"context"
	"errors"
	"net/http"

	"strata/internal/report"
	"strata/internal/web"
)

// registerPages puts the pages beside the API, which they ask within the process.
func (s *Server) registerPages() (err error) {
	s.site, err = web.New(web.Options{API: s.pageAnswer, Report: s.pageReport, Version: s.o.Version, Log: s.o.Log, Now: s.o.Now})
	if err == nil {
		s.site.Register(s.mux)
	}
	return err
}

// pageAnswer is what the API answers a page.
func (s *Server) pageAnswer(r *http.Request) (status int, header http.Header, body []byte) {
	a := s.inside(r)
	return a.status, a.header, a.body.Bytes()
}

// pageReport is the report of an image for its page: that of the API.
func (s *Server) pageReport(ctx context.Context, image int64) (*report.Report, error) {
	if s.o.Reports == nil {
		return nil, errors.New("this server makes no reports")
	}
	r, err := s.judged(ctx, image)
	if err == nil {
		err = s.limitReport(ctx, r)
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return r, nil
}
