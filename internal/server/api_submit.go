package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/analyzer"
	"strata/internal/auth"
	"strata/internal/image"
	"strata/internal/report"
	"strata/internal/source"
	"strata/internal/store"
)

// maxSubmission bounds the document of an image, in bytes.
const maxSubmission = 4 << 20

// maxSubmitting is how many submissions are worked on at the same time.
const maxSubmitting = 4

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
	if out.Body.Missing, err = s.missingLayers(ctx, m, in.Body.Unreadable); err != nil || len(out.Body.Missing) > 0 {
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
	if s.o.Reports == nil {
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

// missingLayers are those of which is not known what is in them, and which the client can
// read, each once.
func (s *Server) missingLayers(ctx context.Context, m *image.Image, unreadable map[image.DiffID]string) ([]image.DiffID, error) {
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
		if _, never := unreadable[id]; !known[id] && !never && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// beginSubmission waits for a place among those that are worked on, which done gives back:
// each holds what is in layers in memory.
func (s *Server) beginSubmission(ctx context.Context) (done func(), err error) {
	select {
	case s.submitting <- struct{}{}:
		return func() { <-s.submitting }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reportSubmitted makes the report, and keeps what is in the image.
func (s *Server) reportSubmitted(ctx context.Context, registry string, in *Submission, m *image.Image, text *bytes.Buffer) error {
	done, err := s.beginSubmission(ctx)
	if err != nil {
		return err
	}
	defer done()
	user := auth.From(ctx).UserID
	below, err := s.o.DB.ImagesBelow(ctx, m)
	if err != nil {
		return err
	}
	m.Base = image.RecogniseBase(m, below)
	source.NameBase(m.Base)
	res, err := s.o.Reports.Known(ctx, m, store.SubmittedLayers{DB: s.o.DB, User: user})
	if err != nil {
		return err
	}
	for i := range res.Inventory.Problems {
		if p := &res.Inventory.Problems[i]; p.Incomplete && p.Layer >= 0 && res.Layers[p.Layer] == nil {
			p.Message = cmp.Or(in.Unreadable[m.Layers[p.Layer].DiffID], p.Message)
		}
	}
	r, err := s.o.Reports.Matched(ctx, res)
	if err != nil {
		return err
	}
	if s.o.Judge != nil {
		if err := s.o.Judge(ctx, registry+"/"+in.Repository+tagged(in.Tag), r); err != nil {
			return err
		}
	}
	if err := s.limitReport(ctx, r); err != nil {
		return err
	}
	// In a registry of its own, so that it is not taken for what was read there.
	if _, err := s.o.DB.PutSubmitted(ctx, user, in.Registry, store.Named{Repository: in.Repository, Tag: in.Tag},
		store.Contents{Image: m, Inventory: &res.Inventory, AnalyzerSet: analyzer.SetVersion, Incomplete: r.Incomplete()}); err != nil {
		return err
	}
	return report.CompactJSON(text, r)
}

func tagged(tag string) string {
	if tag == "" {
		return ""
	}
	return ":" + tag
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
	done, err := s.beginSubmission(ctx)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	defer done()
	l, err := store.DecodeLayer(in.RawBody)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity("this is not what is in a layer", err)
	}
	if string(l.DiffID) != in.DiffID {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("this is what is in layer %s", l.DiffID))
	}
	return nil, s.fail(ctx, s.o.DB.PutSubmittedLayer(ctx, auth.From(ctx).UserID, analyzer.SetVersion, l))
}
