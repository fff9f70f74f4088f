package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/advisory"
	"strata/internal/auth"
	"strata/internal/store"
)

func (s *Server) registerFindings() {
	huma.Register(s.api, operation("GET", "/findings", "list-findings", "List findings over all images, the worst first", "findings", auth.Viewer), s.listFindings)
	huma.Register(s.api, operation("GET", "/changes", "list-changes", "List what news changed, the newest first", "findings", auth.Viewer), s.listChanges)
	huma.Register(s.api, whole(operation("GET", "/findings/days", "list-finding-days", "How many findings were open at the end of each day", "findings", auth.Viewer)), s.listFindingDays)
	huma.Register(s.api, operation("GET", "/images/{id}/findings", "list-image-findings", "List the findings of an image, now or at a time", "images", auth.Viewer), s.listImageFindings)
}

// FindingsInput asks for findings.
type FindingsInput struct {
	PageInput
	Vulnerability string `query:"vulnerability" doc:"any of its names" maxLength:"200"`
	Package       string `query:"package" doc:"name of a package" maxLength:"500"`
	Severity      string `query:"severity" enum:"low,medium,high,critical" doc:"at least this grave"`
	Fixable       bool   `query:"fixable" doc:"with a fixed version"`
	KEV           bool   `query:"kev" doc:"known to be exploited"`
}

func (s *Server) listFindings(ctx context.Context, in *FindingsInput) (*struct{ Body Page[store.FleetFinding] }, error) {
	q := store.FindingQuery{Vulnerability: in.Vulnerability, Package: in.Package, Severity: advisory.Severity(in.Severity).Rank(), Fixable: in.Fixable, KEV: in.KEV,
		Scope: scopeOf(ctx, auth.Viewer), Limit: in.Limit}
	if in.Cursor != "" {
		q.After = &store.FindingKey{}
		if err := decodeCursor("findings", in.Cursor, q.After); err != nil {
			return nil, err
		}
	}
	rows, err := s.o.DB.Findings(ctx, q)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct {
		Body Page[store.FleetFinding]
	}{pageOf("findings", rows, in.Limit, func(f *store.FleetFinding) any { return f.Key() })}, nil
}

// ChangesInput asks for changes.
type ChangesInput struct {
	PageInput
	Since string `query:"since" doc:"date (2026-01-31) or time (RFC 3339); by default a day ago"`
}

func (s *Server) listChanges(ctx context.Context, in *ChangesInput) (*struct{ Body Page[store.FindingChange] }, error) {
	since, err := timeOr(in.Since, "since", s.o.Now().Add(-24*time.Hour))
	if err != nil {
		return nil, err
	}
	var after *store.ChangeKey
	if in.Cursor != "" {
		after = &store.ChangeKey{}
		if err := decodeCursor("changes", in.Cursor, after); err != nil {
			return nil, err
		}
	}
	rows, err := s.o.DB.FindingChanges(ctx, scopeOf(ctx, auth.Viewer), since, after, in.Limit)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct {
		Body Page[store.FindingChange]
	}{pageOf("changes", rows, in.Limit, func(c *store.FindingChange) any { return c.Key() })}, nil
}

// timeOr reads a time, or a date, UTC: its beginning, or its end for what held at it.
func timeOr(text, name string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, huma.Error400BadRequest(name + ": want a date as 2026-01-31 or a time as 2026-01-31T12:00:00Z")
	}
	if name == "at" {
		t = t.Add(24*time.Hour - time.Microsecond)
	}
	return t, nil
}

// ImageFindingsInput asks for the findings of an image.
type ImageFindingsInput struct {
	ImageInput
	At string `query:"at" doc:"date (2026-01-31: its end, UTC) or time (RFC 3339); by default now"`
}

func (s *Server) listImageFindings(ctx context.Context, in *ImageFindingsInput) (*struct{ Body List[store.PackageFinding] }, error) {
	at, err := timeOr(in.At, "at", s.o.Now())
	if err != nil {
		return nil, err
	}
	if err := s.visible(ctx, in.ID); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.FindingsAt(ctx, in.ID, at)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if rows == nil {
		rows = []store.PackageFinding{}
	}
	return &struct{ Body List[store.PackageFinding] }{List[store.PackageFinding]{Items: rows}}, nil
}

// DaysInput asks for the last days.
type DaysInput struct {
	Days int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"up to today, UTC"`
}

func (s *Server) listFindingDays(ctx context.Context, in *DaysInput) (*struct{ Body List[store.FindingDay] }, error) {
	days, err := s.o.DB.FindingDays(ctx, in.Days)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &struct{ Body List[store.FindingDay] }{List[store.FindingDay]{Items: days}}, nil
}
