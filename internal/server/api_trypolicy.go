package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/policy"
	"strata/internal/store"
)

// maxTrying is how many policies are tried at the same time: each keeps a processor busy
// for as long as it may, and holds the inventory of an image in memory.
const maxTrying = 2

func (s *Server) registerTryPolicy() {
	op := operation("POST", "/policies/try", "try-policy", "Try a policy on the current images without keeping it, or check it", "policies", auth.Developer)
	op.Description += " Images are those in the repositories of the role that a tag names now, or of these the ones in a scope; they are judged from what is known of them," +
		" with the waivers and VEX documents of the server, until a bound is met. Mistakes in the text are no error but part of the answer, with line and column."
	op.MaxBodyBytes = maxDocument
	huma.Register(s.api, op, s.tryPolicy)
}

// TryPolicyInput is a policy to be tried.
type TryPolicyInput struct {
	Body PolicyTrial
}

// A PolicyTrial is a policy to be tried, and on what.
type PolicyTrial struct {
	Text    string            `json:"text" maxLength:"4194304" doc:"as it would be saved"`
	Name    string            `json:"name,omitempty" maxLength:"100" doc:"by which it would be saved: it takes the place of the policy of this name in watches"`
	Scope   *store.WatchScope `json:"scope,omitempty" doc:"the images that it is for, as of a watch; all by default"`
	Mode    string            `json:"mode,omitempty" enum:",warn,enforce" doc:"as of a watch"`
	Check   bool              `json:"check,omitempty" doc:"tell the mistakes in the text only: quick enough for each key that is pressed"`
	Images  int               `json:"images,omitempty" minimum:"1" maximum:"100000" default:"1000" doc:"judge at most so many images: a sample over all of them, the same each time"`
	Seconds int               `json:"seconds,omitempty" minimum:"1" maximum:"60" default:"10" doc:"judge images for at most so long"`
	Limit   int               `json:"limit,omitempty" minimum:"1" maximum:"200" default:"50" doc:"tell at most so many images"`
}

func (s *Server) tryPolicy(ctx context.Context, in *TryPolicyInput) (*struct{ Body *jobs.Tried }, error) {
	if s.o.Try == nil {
		return nil, huma.Error501NotImplemented("this server judges no images")
	}
	b := &in.Body
	t := &jobs.Trial{
		Name: b.Name, Text: b.Text, Scope: b.Scope, Mode: policy.Mode(b.Mode), CheckOnly: b.Check, Sight: scopeOf(ctx, auth.Developer),
		MaxImages: b.Images, MaxItems: b.Limit, MaxTime: time.Duration(b.Seconds) * time.Second,
	}
	if !b.Check {
		done, err := s.trialPlace(ctx, t.MaxTime)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	out, err := s.o.Try(ctx, t)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body *jobs.Tried }{out}, nil
}

// trialPlace waits for one of the places of trials, but not for ever.
func (s *Server) trialPlace(ctx context.Context, patience time.Duration) (done func(), err error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.trying <- struct{}{}:
		return func() { <-s.trying }, nil
	case <-ctx.Done():
		return nil, s.fail(ctx, ctx.Err())
	case <-timer.C:
		return nil, huma.ErrorWithHeaders(huma.Error503ServiceUnavailable("other policies are being tried; try again soon"), http.Header{"Retry-After": {"10"}})
	}
}
