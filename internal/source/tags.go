package source

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

const (
	// maxTags is how many tags of a repository are listed.
	maxTags = 20_000
	// maxTagPages is how many answers that may take.
	maxTagPages = 200
)

// Tags lists the tags of an image's repository (OCI distribution-spec, "Listing
// Tags"), from the first of its mirrors that answers, in the registry's order,
// which is that of their names. The reference is a plain name or one of a
// registry.
func Tags(ctx context.Context, ref string, o Options) ([]string, error) {
	tags, err := listTags(ctx, strings.TrimPrefix(ref, string(Registry)+":"), o.defaulted())
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("tags of %s: %w", ref, err)
	}
	return tags, nil
}

func listTags(ctx context.Context, ref string, o Options) ([]string, error) {
	parsed, err := parseName(ref, o)
	if err != nil {
		return nil, err
	}
	places, err := placesOf(parsed, o)
	if err != nil {
		return nil, err
	}
	base, release, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	defer release()
	var failures []error
	for _, p := range places {
		r, err := p.connect(ctx, base, o)
		if err == nil {
			var tags []string
			if tags, _, err = r.tags(ctx, maxTags, maxTagPages); err == nil {
				return tags, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failures = append(failures, p.wayOut(err, o))
	}
	return nil, joined(failures)
}

// tags reads the list page by page, as the Link header tells (RFC 5988), so many tags
// and pages at most; complete tells that there are no more.
func (r *repository) tags(ctx context.Context, most, pages int) (tags []string, complete bool, err error) {
	last := ""
	for range pages {
		path := "tags/list?n=1000"
		if last != "" {
			path += "&last=" + url.QueryEscape(last)
		}
		page, more, err := r.tagPage(ctx, path)
		if err != nil {
			return nil, false, err
		}
		tags = append(tags, page...)
		if !more || len(page) == 0 || page[len(page)-1] == last {
			return tags[:min(len(tags), most)], len(tags) <= most, nil
		}
		if len(tags) > most {
			break
		}
		last = page[len(page)-1]
	}
	return tags[:min(len(tags), most)], false, nil
}

func (r *repository) tagPage(ctx context.Context, path string) (tags []string, more bool, err error) {
	resp, err := r.get(ctx, path, http.Header{"Accept": {"application/json"}}, http.StatusOK)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	raw, err := readDocument(resp.Body)
	if err != nil {
		return nil, false, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, false, fmt.Errorf("the registry's answer is not valid JSON: %w", err)
	}
	for _, t := range list.Tags {
		if _, err := name.NewTag("x:" + t); err == nil { // what is no tag can't be asked for
			tags = append(tags, t)
		}
	}
	return tags, strings.Contains(resp.Header.Get("Link"), `rel="next"`), nil
}
