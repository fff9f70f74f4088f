package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pagedTags answers with three tags at a time, and what is no tag among them.
func pagedTags(t *testing.T, pages [][]string) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/team/app/tags/list") {
			if req.URL.Path != "/v2/" {
				http.NotFound(w, req)
			}
			return
		}
		at := 0
		if last := req.URL.Query().Get("last"); last != "" {
			for at < len(pages) && pages[at][len(pages[at])-1] != last {
				at++
			}
			at++
		}
		if at < len(pages)-1 {
			w.Header().Set("Link", `</v2/team/app/tags/list?last=x>; rel="next"`)
		}
		fmt.Fprintf(w, `{"name": "team/app", "tags": ["%s"]}`, strings.Join(pages[at], `", "`))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestTags(t *testing.T) {
	server := pagedTags(t, [][]string{{"1.0", "1.1", "not a tag", "1.2"}, {"1.3"}, {"2.0", "latest"}})
	host := strings.TrimPrefix(server.URL, "http://")
	for _, ref := range []string{host + "/team/app", "registry:" + host + "/team/app:1.0"} {
		tags, err := Tags(t.Context(), ref, quick())
		if diff := cmp.Diff([]string{"1.0", "1.1", "1.2", "1.3", "2.0", "latest"}, tags); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", ref, err, diff)
		}
	}
	o := quick()
	o.Mirrors = map[string][]string{"registry.example": {server.URL}}
	if tags, err := Tags(t.Context(), "registry.example/team/app", o); len(tags) != 6 || err != nil {
		t.Errorf("by a mirror: %v, %v", tags, err)
	}
	for ref, want := range map[string]string{host + "/team/none": "404", "A B": "not a valid name"} {
		if _, err := Tags(t.Context(), ref, quick()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "tags of "+ref) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
}

// A registry that says for ever that there is more is left at some time.
func TestTagsEnd(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/v2/" {
			return
		}
		requests++
		w.Header().Set("Link", `<x>; rel="next"`)
		fmt.Fprintf(w, `{"tags": ["t%d"]}`, requests)
	}))
	t.Cleanup(server.Close)
	tags, err := Tags(t.Context(), strings.TrimPrefix(server.URL, "http://")+"/a", quick())
	if err != nil || len(tags) != maxTagPages {
		t.Errorf("%d tags, %v; want %d", len(tags), err, maxTagPages)
	}
}
