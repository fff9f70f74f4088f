package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"strata/internal/event"
	"strata/internal/image"
)

// A Submission is an image that a client has before it, told to the server: what the
// image is, but not what is in its layers.
type Submission struct {
	// Registry is the host that the image's name has: "docker.io", "localhost:5000",
	// or "local" for an image without a name.
	Registry   string `json:"registry" minLength:"1" maxLength:"255" doc:"host of the image's name; docker.io where it has none"`
	Repository string `json:"repository" minLength:"1" maxLength:"255" doc:"repository within the registry, as in library/debian"`
	Tag        string `json:"tag,omitempty" maxLength:"128"`
	// AnalyzerSet is that of the client (analyzer.SetVersion): what another one finds
	// in layers is not comparable.
	AnalyzerSet string         `json:"analyzer_set" maxLength:"32" doc:"version of the set of analyzers of the client"`
	Image       SubmittedImage `json:"image"`
	// Unreadable are layers that the client could not read, with the reason: the report
	// is made without them, and is incomplete.
	Unreadable map[image.DiffID]string `json:"unreadable,omitempty" maxProperties:"1000" doc:"layers that could not be read, by diff id, with the reason: the report is made without them, unless the server knows them"`
}

// A SubmittedImage is an image.Image without content.
type SubmittedImage struct {
	Reference    string            `json:"reference" maxLength:"1024" doc:"what the user asked for"`
	Digest       string            `json:"digest,omitempty"`
	ConfigDigest string            `json:"config_digest"`
	Platform     string            `json:"platform,omitempty" maxLength:"100"`
	Created      *time.Time        `json:"created,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	User         string            `json:"user,omitempty"`
	Layers       []SubmittedLayer  `json:"layers" maxItems:"1000"`
	History      []SubmittedStep   `json:"history,omitempty" maxItems:"2000"`
}

// A SubmittedLayer is an image.Layer.
type SubmittedLayer struct {
	Digest    string     `json:"digest,omitempty"`
	DiffID    string     `json:"diff_id"`
	MediaType string     `json:"media_type,omitempty"`
	Size      int64      `json:"size" doc:"in bytes, -1 where it is not known"`
	CreatedBy string     `json:"created_by,omitempty"`
	Created   *time.Time `json:"created,omitempty"`
}

// A SubmittedStep is an image.Step.
type SubmittedStep struct {
	Created   *time.Time `json:"created,omitempty"`
	CreatedBy string     `json:"created_by,omitempty"`
	Comment   string     `json:"comment,omitempty"`
	Empty     bool       `json:"empty,omitempty"`
}

// A SubmissionAnswer has the layers that the server doesn't know, or else the report.
type SubmissionAnswer struct {
	// Missing are the diff ids of the layers to be sent first.
	Missing []image.DiffID `json:"missing" doc:"diff ids of layers to send; when there are none, the report is there"`
	// Report is that of the JSON format, with the verdict of the server's policies.
	Report json.RawMessage `json:"report,omitempty" doc:"the report, as strata scan -f json writes it"`
}

// NewSubmission tells of an image; repository and registry are those of its name.
func NewSubmission(m *image.Image, registry, repository, tag, analyzerSet string) *Submission {
	s := &Submission{Registry: registry, Repository: repository, Tag: tag, AnalyzerSet: analyzerSet, Image: SubmittedImage{
		Reference: m.Reference, Digest: string(m.Digest), ConfigDigest: string(m.ConfigDigest), Platform: m.Platform.String(), Created: optionalTime(m.Created),
		Labels: m.Labels, Annotations: m.Annotations, User: m.Config.User, Layers: make([]SubmittedLayer, len(m.Layers)),
	}}
	for i, l := range m.Layers {
		s.Image.Layers[i] = SubmittedLayer{Digest: string(l.Digest), DiffID: string(l.DiffID), MediaType: l.MediaType, Size: l.Size, CreatedBy: l.CreatedBy, Created: optionalTime(l.Created)}
	}
	for _, h := range m.History {
		s.Image.History = append(s.Image.History, SubmittedStep{Created: optionalTime(h.Created), CreatedBy: h.CreatedBy, Comment: h.Comment, Empty: h.Empty})
	}
	return s
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func knownTime(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// image is what NewSubmission was given; the error says what is wrong with it.
func (s *Submission) image() (*image.Image, error) {
	if !event.ValidName(s.Repository, s.Tag) {
		return nil, fmt.Errorf("%s:%s is no name of an image", s.Repository, s.Tag)
	}
	in := &s.Image
	m := &image.Image{
		Reference: in.Reference, Repository: s.Repository, Tag: s.Tag, Digest: image.Digest(in.Digest), ConfigDigest: image.Digest(in.ConfigDigest),
		Created: knownTime(in.Created), Labels: in.Labels, Annotations: in.Annotations, Config: image.Config{User: in.User},
	}
	var errs []error
	if m.Digest != "" {
		errs = append(errs, m.Digest.Validate())
	}
	errs = append(errs, m.ConfigDigest.Validate())
	if in.Platform != "" {
		var err error
		m.Platform, err = image.ParsePlatform(in.Platform)
		errs = append(errs, err)
	}
	for i, l := range in.Layers {
		m.Layers = append(m.Layers, image.Layer{Index: i, Digest: image.Digest(l.Digest), DiffID: image.DiffID(l.DiffID), MediaType: l.MediaType, Size: l.Size, CreatedBy: l.CreatedBy, Created: knownTime(l.Created)})
		if l.Digest != "" {
			errs = append(errs, image.Digest(l.Digest).Validate())
		}
		errs = append(errs, image.DiffID(l.DiffID).Validate())
	}
	for _, h := range in.History {
		m.History = append(m.History, image.Step{Created: knownTime(h.Created), CreatedBy: h.CreatedBy, Comment: h.Comment, Empty: h.Empty})
	}
	if len(m.Layers) == 0 {
		errs = append(errs, errors.New("the image has no layers"))
	}
	return m, errors.Join(errs...)
}
