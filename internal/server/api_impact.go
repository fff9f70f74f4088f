package server

import (
	"context"
	"errors"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/store"
)

func (s *Server) registerImpact() {
	huma.Register(s.api, operation("GET", "/impact", "get-impact", "Where a vulnerability, package, licence or file is: in sum, and the first images", "impact", auth.Viewer), s.getImpact)
	huma.Register(s.api, operation("GET", "/impact/images", "list-impact-images", "List the images that have it, the newest first", "impact", auth.Viewer), s.listImpactImages)
	huma.Register(s.api, operation("GET", "/impact/layers", "list-impact-layers", "List the layers that introduce it, those in most images first", "impact", auth.Viewer), s.listImpactLayers)
	huma.Register(s.api, operation("GET", "/bases/{id}/descendants", "get-descendants", "The images built upon a base image", "impact", auth.Viewer), s.getDescendants)
	huma.Register(s.api, operation("GET", "/layers/{diff_id}", "get-layer", "The images that have a layer", "impact", auth.Viewer), s.getLayer)
	huma.Register(s.api, operation("GET", "/fix-first", "fix-first", "Layers or base images by how many findings one rebuild heals", "impact", auth.Viewer), s.fixFirst)
}

// ImpactInput asks where something is: one of vulnerability, purl or package, license,
// file, base and layer.
type ImpactInput struct {
	PageInput
	Vulnerability string `query:"vulnerability" doc:"any of its names, in any case" maxLength:"200"`
	PURL          string `query:"purl" doc:"purl of a package, with or without version" maxLength:"1000"`
	Package       string `query:"package" doc:"name of a package" maxLength:"500"`
	Type          string `query:"type" doc:"type of the package, as purls have it; any when it is not given" maxLength:"50"`
	Range         string `query:"range" doc:"of versions, all of which must hold: >=1.2,<1.4.2" maxLength:"500"`
	License       string `query:"license" doc:"SPDX expression or id, or a class" maxLength:"500"`
	File          string `query:"file" doc:"sha256: and the SHA-256 of a file's content; known are those of programs, shared libraries, Java archives and files that tell of packages" maxLength:"200"`
	Base          string `query:"base" doc:"id, digest or name of an image: those built upon it" maxLength:"500"`
	Layer         string `query:"layer" doc:"DiffID of a layer, or chain: and a chain id" maxLength:"200"`
	Aside         bool   `query:"aside" doc:"list images too in which all of it is set aside; only for lists of images"`
}

func (in *ImpactInput) query(ctx context.Context) store.ImpactQuery {
	return store.ImpactQuery{
		Vulnerability: in.Vulnerability, PURL: in.PURL, Name: in.Package, Type: in.Type, Range: in.Range, License: in.License, File: in.File, Base: in.Base, Layer: in.Layer,
		Scope: scopeOf(ctx, auth.Viewer),
	}
}

// list is the name of a list of cursors: of this question only.
func (in *ImpactInput) list(what string) string {
	return etagOf(what, in.Vulnerability, in.PURL, in.Package, in.Type, in.Range, in.License, in.File, in.Base, in.Layer, strconv.FormatBool(in.Aside))
}

// failAsked is fail for questions that may be wrong.
func (s *Server) failAsked(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrQuery) {
		return huma.Error400BadRequest(err.Error())
	}
	return s.fail(ctx, err)
}

// ImpactAnswer is where something is, with the first page of its images.
type ImpactAnswer struct {
	store.Impact
	Images Page[store.ImpactImage] `json:"images"`
}

func (s *Server) getImpact(ctx context.Context, in *ImpactInput) (*struct{ Body ImpactAnswer }, error) {
	in.Aside = false
	impact, images, err := s.o.DB.FirstImpact(ctx, in.query(ctx), in.Limit)
	if err != nil {
		return nil, s.failAsked(ctx, err)
	}
	return &struct{ Body ImpactAnswer }{ImpactAnswer{*impact, impactPage(in, images)}}, nil
}

func impactPage(in *ImpactInput, images []store.ImpactImage) Page[store.ImpactImage] {
	return pageOf(in.list("images"), images, in.Limit, func(r *store.ImpactImage) any { return r.ID })
}

func (s *Server) listImpactImages(ctx context.Context, in *ImpactInput) (*struct{ Body Page[store.ImpactImage] }, error) {
	var after int64
	if err := decodeCursor(in.list("images"), in.Cursor, &after); err != nil {
		return nil, err
	}
	images, err := s.o.DB.ImpactImages(ctx, in.query(ctx), in.Aside, after, in.Limit)
	if err != nil {
		return nil, s.failAsked(ctx, err)
	}
	return &struct{ Body Page[store.ImpactImage] }{impactPage(in, images)}, nil
}

func (s *Server) listImpactLayers(ctx context.Context, in *ImpactInput) (*struct{ Body Page[store.ImpactLayer] }, error) {
	var after *store.LayerKey
	if in.Cursor != "" {
		after = &store.LayerKey{}
		if err := decodeCursor(in.list("layers"), in.Cursor, after); err != nil {
			return nil, err
		}
	}
	layers, err := s.o.DB.ImpactLayers(ctx, in.query(ctx), after, in.Limit)
	if err != nil {
		return nil, s.failAsked(ctx, err)
	}
	return &struct{ Body Page[store.ImpactLayer] }{pageOf(in.list("layers"), layers, in.Limit, func(r *store.ImpactLayer) any { return r.Key() })}, nil
}

// DescendantsInput names a base image. Further pages are those of /impact/images?base=ID.
type DescendantsInput struct {
	ID    int64 `path:"id" doc:"id of the image"`
	Limit int   `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"images on the page; the next is of /impact/images?base=ID"`
}

func (s *Server) getDescendants(ctx context.Context, in *DescendantsInput) (*struct{ Body ImpactAnswer }, error) {
	q := &ImpactInput{Base: strconv.FormatInt(in.ID, 10)}
	q.Limit = in.Limit
	return s.getImpact(ctx, q)
}

// LayerInput names a layer. Further pages are those of /impact/images?layer=DIFF_ID.
type LayerInput struct {
	DiffID string `path:"diff_id" doc:"DiffID of the layer" maxLength:"200"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"images on the page; the next is of /impact/images?layer=DIFF_ID"`
}

func (s *Server) getLayer(ctx context.Context, in *LayerInput) (*struct{ Body ImpactAnswer }, error) {
	q := &ImpactInput{Layer: in.DiffID}
	q.Limit = in.Limit
	return s.getImpact(ctx, q)
}

// FixFirstInput asks where to begin.
type FixFirstInput struct {
	Bases bool `query:"bases" doc:"base images instead of layers"`
	Limit int  `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

func (s *Server) fixFirst(ctx context.Context, in *FixFirstInput) (*struct{ Body *store.FixFirst }, error) {
	out, err := s.o.DB.FixFirst(ctx, store.FixFirstQuery{Bases: in.Bases, Limit: in.Limit, Scope: scopeOf(ctx, auth.Viewer)})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body *store.FixFirst }{out}, nil
}
