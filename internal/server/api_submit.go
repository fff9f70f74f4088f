package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/analyzer"
	"strata/internal/auth"
	"strata/internal/image"
	"strata/internal/inventory"
	"strata/internal/report"
	"strata/internal/scan"
	"strata/internal/store"
)

// maxSubmission bounds the document of an image, in bytes.
const maxSubmission = 4 << 20

// maxSubmitting is how many submissions are worked on at the same time.
const maxSubmitting = 4

// Submissions are what the server does with images that clients tell of. The zero
// value refuses them.
type Submissions struct {
	// Layer is what the server itself has found in a layer; store.ErrNotFound for one
	// that it hasn't read.
	Layer func(ctx context.Context, id image.DiffID) (*inventory.Layer, error)
	// Report holds an image against the advisories, and the policies for images of
	// this name ("REGISTRY/REPOSITORY:TAG").
	Report func(ctx context.Context, name string, res *scan.Result) (*report.Report, error)
	// Keep writes down what is in the image, which user has submitted it, in a registry
	// of that id; nil keeps nothing.
	Keep func(ctx context.Context, registry, user int64, s *Submission, res *scan.Result) error
}

func (s *Server) registerSubmissions() {
	submit := operation("POST", "/submissions", "submit-image", "Tell of an image, and get its report, or the layers that are to be sent first", "submissions", auth.Developer)
	submit.MaxBodyBytes = maxSubmission
	submit.Description += " This is what strata scan --server does. What a user says of layers counts for the images that the same user submits, and for no other."
	huma.Register(s.api, submit, s.submitImage)
	layer := operation("PUT", "/submissions/layers/{diff_id}", "submit-layer", "Tell what is in a layer", "submissions", auth.Developer)
	layer.MaxBodyBytes = store.MaxSubmittedLayer
	layer.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, layer, s.submitLayer)
}

// submitImage answers with the report when all layers are known.
func (s *Server) submitImage(ctx context.Context, in *struct{ Body Submission }) (*struct{ Body SubmissionAnswer }, error) {
	m, err := in.Body.image()
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("this is no image", err)
	}
	registry, err := s.maySubmit(ctx, &in.Body)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := &struct{ Body SubmissionAnswer }{Body: SubmissionAnswer{Missing: []image.DiffID{}}}
	if out.Body.Missing, err = s.missingLayers(ctx, m); err != nil || len(out.Body.Missing) > 0 {
		return out, s.fail(ctx, err)
	}
	var text bytes.Buffer
	if err := s.reportSubmitted(ctx, registry, &in.Body, m, &text); err != nil {
		return nil, s.fail(ctx, err)
	}
	out.Body.Report = text.Bytes()
	return out, nil
}

// maySubmit tells whether who asks may submit images of this name; registry is the
// name of its registry.
func (s *Server) maySubmit(ctx context.Context, in *Submission) (registry string, err error) {
	if s.o.Submissions.Report == nil {
		return "", huma.Error501NotImplemented("this server takes no submissions")
	}
	if in.AnalyzerSet != analyzer.SetVersion {
		return "", huma.Error409Conflict(fmt.Sprintf("the client's analyzers are of version %s, the server's of %s: use the same version of strata", in.AnalyzerSet, analyzer.SetVersion))
	}
	registry, err = s.o.DB.RegistryNameOf(ctx, in.Registry)
	if err != nil {
		return "", err
	}
	if name := registry + "/" + in.Repository; !auth.Match(auth.From(ctx).Scope(auth.Developer), name) {
		return "", huma.Error403Forbidden("this needs the role developer over " + name)
	}
	return registry, nil
}

// missingLayers are those of which is not known what is in them, each once.
func (s *Server) missingLayers(ctx context.Context, m *image.Image) ([]image.DiffID, error) {
	ids := make([]image.DiffID, len(m.Layers))
	for i, l := range m.Layers {
		ids[i] = l.DiffID
	}
	known, err := s.o.DB.KnownLayers(ctx, auth.From(ctx).UserID, analyzer.SetVersion, ids)
	if err != nil {
		return nil, err
	}
	missing := []image.DiffID{}
	for _, id := range ids {
		if !known[id] && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// reportSubmitted makes the report, and keeps what is in the image.
func (s *Server) reportSubmitted(ctx context.Context, registry string, in *Submission, m *image.Image, text *bytes.Buffer) error {
	select { // each holds the inventories of an image in memory
	case s.submitting <- struct{}{}:
		defer func() { <-s.submitting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	user := auth.From(ctx).UserID
	res := &scan.Result{Image: m}
	for _, l := range m.Layers {
		found, err := s.submittedLayer(ctx, user, l.DiffID)
		if err != nil {
			return err
		}
		res.Layers = append(res.Layers, found)
	}
	res.Inventory = inventory.Merge(res.Layers)
	r, err := s.o.Submissions.Report(ctx, registry+"/"+in.Repository+tagged(in.Tag), res)
	if err != nil {
		return err
	}
	if s.o.Submissions.Keep != nil {
		id, _, err := s.o.DB.RegistryOf(ctx, in.Registry)
		if err == nil {
			err = s.o.Submissions.Keep(ctx, id, user, in, res)
		}
		if err != nil {
			return err
		}
	}
	return report.CompactJSON(text, r)
}

func tagged(tag string) string {
	if tag == "" {
		return ""
	}
	return ":" + tag
}

// submittedLayer is what the server has found in a layer, or else what the user says.
func (s *Server) submittedLayer(ctx context.Context, user int64, id image.DiffID) (*inventory.Layer, error) {
	if s.o.Submissions.Layer != nil {
		l, err := s.o.Submissions.Layer(ctx, id)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return l, err
		}
	}
	return s.o.DB.SubmittedLayer(ctx, user, analyzer.SetVersion, id)
}

// submitLayer keeps what a user says is in a layer.
func (s *Server) submitLayer(ctx context.Context, in *struct {
	DiffID      string `path:"diff_id"`
	AnalyzerSet string `query:"analyzer_set" required:"true"`
	RawBody     []byte `contentType:"application/zstd"`
}) (*struct{}, error) {
	if in.AnalyzerSet != analyzer.SetVersion {
		return nil, huma.Error409Conflict(fmt.Sprintf("the client's analyzers are of version %s, the server's of %s: use the same version of strata", in.AnalyzerSet, analyzer.SetVersion))
	}
	l, err := store.DecodeLayer(in.RawBody)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("this is not what is in a layer", err)
	}
	if string(l.DiffID) != in.DiffID {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("this is what is in layer %s", l.DiffID))
	}
	return nil, s.fail(ctx, s.o.DB.PutSubmittedLayer(ctx, auth.From(ctx).UserID, analyzer.SetVersion, l))
}
