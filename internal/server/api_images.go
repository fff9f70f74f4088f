package server

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/advisory"
	"strata/internal/auth"
	"strata/internal/policy"
	"strata/internal/remedy"
	"strata/internal/report"
	"strata/internal/store"
)

func (s *Server) registerImages() {
	huma.Register(s.api, operation("GET", "/images", "list-images", "List images, the worst first", "images", auth.Viewer), s.listImages)
	huma.Register(s.api, operation("GET", "/images/{id}", "get-image", "Show an image with its layers and tags", "images", auth.Viewer), s.getImage)
	huma.Register(s.api, operation("GET", "/images/{id}/packages", "list-image-packages", "List the packages of an image, those of lower layers too", "images", auth.Viewer), s.listImagePackages)
	huma.Register(s.api, operation("GET", "/images/{id}/report", "get-report", "The report of an image, as strata scan makes it", "images", auth.Viewer), s.getReport)
	plan := operation("POST", "/images/{id}/plan", "plan-image", "How to remedy an image, as strata fix says it", "images", auth.Viewer)
	plan.MaxBodyBytes = maxDocument
	plan.Description += " The answer is of docs/plan.schema.json."
	huma.Register(s.api, plan, s.planImage)
	huma.Register(s.api, whole(operation("GET", "/packages", "list-packages", "List package versions by name, with how many images have them", "packages", auth.Viewer)), s.listPackages)
	huma.Register(s.api, whole(operation("GET", "/licenses", "list-licenses", "List licences, with how many package versions have them", "licences", auth.Viewer)), s.listLicenses)
}

// scopeOf are the globs of the repositories over which who asks has a role; nil for
// all of them.
func scopeOf(ctx context.Context, role auth.Role) []string {
	scope := auth.From(ctx).Scope(role)
	if slices.Contains(scope, "**") {
		return nil
	}
	if scope == nil {
		scope = []string{}
	}
	return scope
}

// ImagesInput asks for images.
type ImagesInput struct {
	PageInput
	Query      string `query:"q" doc:"part of a name or digest" maxLength:"200"`
	Registry   string `query:"registry" doc:"name of a registry"`
	Repository string `query:"repository" doc:"name of a repository within its registry"`
	Tag        string `query:"tag"`
	Platform   string `query:"platform" doc:"as linux/amd64"`
	Severity   string `query:"severity" enum:"low,medium,high,critical" doc:"with a finding at least this grave"`
	Sort       string `query:"sort" enum:"worst,newest" default:"worst"`
	Untagged   bool   `query:"untagged" doc:"those too that no tag names now"`
}

func (s *Server) listImages(ctx context.Context, in *ImagesInput) (*struct{ Body Page[store.ImageRow] }, error) {
	q := store.ImageQuery{
		Text: in.Query, Registry: in.Registry, Repository: in.Repository, Tag: in.Tag, Platform: in.Platform,
		Severity: advisory.Severity(in.Severity).Rank(), Newest: in.Sort == "newest", Untagged: in.Untagged,
		Scope: scopeOf(ctx, auth.Viewer), Limit: in.Limit,
	}
	list := "images " + in.Sort
	if in.Cursor != "" {
		q.After = &store.ImageKey{}
		if err := decodeCursor(list, in.Cursor, q.After); err != nil {
			return nil, err
		}
	}
	rows, err := s.o.DB.Images(ctx, q)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[store.ImageRow] }{pageOf(list, rows, in.Limit, func(r *store.ImageRow) any { return r.Key() })}, nil
}

// ImageInput names an image.
type ImageInput struct {
	ID int64 `path:"id" doc:"id of the image"`
}

func (s *Server) getImage(ctx context.Context, in *ImageInput) (*struct{ Body *store.ImageDetail }, error) {
	m, err := s.o.DB.Image(ctx, in.ID, scopeOf(ctx, auth.Viewer))
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body *store.ImageDetail }{m}, nil
}

// visible is an error for an image that who asks may not see: the same as for one that
// isn't there.
func (s *Server) visible(ctx context.Context, id int64) error {
	in, err := s.o.DB.InImageScope(ctx, id, scopeOf(ctx, auth.Viewer))
	if err == nil && !in {
		err = huma.Error404NotFound("image: not found")
	}
	return s.fail(ctx, err)
}

func (s *Server) listImagePackages(ctx context.Context, in *ImageInput) (*struct{ Body List[store.ImagePackageRow] }, error) {
	if err := s.visible(ctx, in.ID); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.ImagePackages(ctx, in.ID)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body List[store.ImagePackageRow] }{List[store.ImagePackageRow]{Items: rows}}, nil
}

// ReportInput asks for a report.
type ReportInput struct {
	ImageInput
	Format string `query:"format" default:"json" doc:"one of those of strata scan --format, but template"`
	ConditionalInput
}

// ReportOutput is a report in a format.
type ReportOutput struct {
	ContentType  string `header:"Content-Type"`
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

// getReport makes the report anew: its ETag is that of its bytes, so that it stays the
// same as long as neither the image, nor advisories, nor policies change what it says.
func (s *Server) getReport(ctx context.Context, in *ReportInput) (*ReportOutput, error) {
	if in.Format == "template" {
		return nil, huma.Error400BadRequest("format template: only strata scan has it")
	}
	if err := report.CheckFormat(in.Format); err != nil {
		return nil, huma.Error400BadRequest(err.Error())
	}
	if s.o.Reports == nil {
		return nil, huma.Error501NotImplemented("this server makes no reports")
	}
	if err := s.visible(ctx, in.ID); err != nil {
		return nil, err
	}
	r, err := s.judged(ctx, in.ID)
	if err == nil {
		err = s.limitReport(ctx, r)
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	// How old the advisories are differs by the second, and is told by their time.
	r.Advisories.AgeHours = 0
	var b bytes.Buffer
	if err := report.Write(&b, in.Format, r, report.Options{}); err != nil {
		return nil, s.fail(ctx, err)
	}
	etag := etagOf(b.String())
	if err := in.unless(etag); err != nil {
		return nil, err
	}
	return &ReportOutput{ContentType: contentType(in.Format), ETag: etag, CacheControl: revalidate, Body: b.Bytes()}, nil
}

// judged is the report of an image, with the verdict of the policies for its name.
func (s *Server) judged(ctx context.Context, id int64) (*report.Report, error) {
	r, err := s.o.Reports.Report(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := s.o.DB.Image(ctx, id, scopeOf(ctx, auth.Viewer))
	if err != nil {
		return nil, err
	}
	name := m.Reference
	if len(m.Names) > 0 {
		name = m.Names[0]
	}
	r.Image.Reference = m.Reference
	if s.o.Judge == nil {
		return r, nil
	}
	return r, s.o.Judge(ctx, name, r)
}

// limitReport takes out of a report what who asks may not see: the name of a base that is
// another's image, and remarks on waivers and VEX documents, which are of all images.
func (s *Server) limitReport(ctx context.Context, r *report.Report) error {
	scope := scopeOf(ctx, auth.Viewer)
	if scope == nil {
		return nil
	}
	r.Problems = slices.DeleteFunc(r.Problems, func(p report.Problem) bool { return p.Analyzer == policy.ByVEX || p.Analyzer == policy.OfWaivers })
	hidden, err := s.o.Reports.LimitBase(ctx, r, scope)
	if err != nil || hidden == "" {
		return err
	}
	for i := range r.Verdict.Violations {
		v := &r.Verdict.Violations[i]
		v.Message = strings.ReplaceAll(v.Message, hidden, cmp.Or(r.Image.Base.Reference, "…"))
	}
	return nil
}

// contentType is the media type of a format.
func contentType(format string) string {
	switch format {
	case "json", "trivy", "gitlab", "gitlab-codequality":
		return "application/json"
	case "sarif":
		return "application/sarif+json"
	case report.FormatCycloneDX, "cyclonedx-json":
		return "application/vnd.cyclonedx+json"
	case report.FormatCycloneDXXML:
		return "application/vnd.cyclonedx+xml"
	case report.FormatSPDX, "spdx-json":
		return "application/spdx+json"
	case "junit":
		return "application/xml"
	case "html":
		return "text/html; charset=utf-8"
	case "csv":
		return "text/csv; charset=utf-8"
	case "markdown", "github-summary":
		return "text/markdown; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}

// PackagesInput asks for packages.
type PackagesInput struct {
	PageInput
	Name string `query:"name" doc:"what the name begins with, in any case" maxLength:"300"`
	Q    string `query:"q" doc:"part of the name, in any case" maxLength:"300"`
	Type string `query:"type" doc:"as in a purl: deb, npm, golang"`
}

func (s *Server) listPackages(ctx context.Context, in *PackagesInput) (*struct{ Body Page[store.PackageRow] }, error) {
	var after *store.PackageKey
	if in.Cursor != "" {
		after = &store.PackageKey{}
		if err := decodeCursor("packages", in.Cursor, after); err != nil {
			return nil, err
		}
	}
	rows, err := s.o.DB.PackageVersions(ctx, store.PackageQuery{Prefix: in.Name, Text: in.Q, Type: in.Type, After: after, Limit: in.Limit})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[store.PackageRow] }{pageOf("packages", rows, in.Limit, func(r *store.PackageRow) any {
		return store.PackageKey{Name: r.Name, Type: r.Type, ID: r.ID}
	})}, nil
}

// LicensesInput asks for licences.
type LicensesInput struct {
	PageInput
	Q     string `query:"q" maxLength:"200" doc:"part of the expression, in any case"`
	Class string `query:"class" doc:"one of the classes of policies: copyleft, permissive"`
}

func (s *Server) listLicenses(ctx context.Context, in *LicensesInput) (*struct{ Body Page[store.LicenseRow] }, error) {
	var after string
	if err := decodeCursor("licenses", in.Cursor, &after); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Licenses(ctx, store.LicenseQuery{Class: in.Class, Text: in.Q, After: after, Limit: in.Limit})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body Page[store.LicenseRow] }{pageOf("licenses", rows, in.Limit, func(r *store.LicenseRow) any { return r.Expression })}, nil
}

// PlanInput asks for a plan.
type PlanInput struct {
	ImageInput
	Body struct {
		Dockerfile string `json:"dockerfile,omitempty" maxLength:"1000000" doc:"text of the Dockerfile that the image was built from: the plan has a diff of it, then"`
		Path       string `json:"path,omitempty" maxLength:"500" default:"Dockerfile" doc:"of that file, for the diff"`
	}
}

// PlanOutput is a plan.
type PlanOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// planImage needs POST for the text that may come along; it changes nothing.
func (s *Server) planImage(ctx context.Context, in *PlanInput) (*PlanOutput, error) {
	if s.o.Reports == nil {
		return nil, huma.Error501NotImplemented("this server makes no plans")
	}
	scope := scopeOf(ctx, auth.Viewer)
	m, err := s.o.DB.Image(ctx, in.ID, scope)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	var dockerfile *remedy.Dockerfile
	if in.Body.Dockerfile != "" {
		if dockerfile, err = remedy.ParseDockerfile(in.Body.Path, []byte(in.Body.Dockerfile)); err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
	}
	plan, err := s.o.Reports.Plan(ctx, in.ID, m.Base, scope, dockerfile)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	plan.Image.Reference = m.Reference // the name by which it was scanned may be another's
	var b bytes.Buffer
	err = report.WritePlan(&b, "json", plan, report.PlanOptions{})
	return &PlanOutput{ContentType: contentType("json"), Body: b.Bytes()}, s.fail(ctx, err)
}
