package imagetest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A Registry serves images by the read half of the OCI distribution-spec: use
// it with an httptest.Server. It is safe for concurrent use. The zero value is
// an empty registry.
type Registry struct {
	mu        sync.RWMutex
	blobs     map[string][]byte
	manifests map[string]document // by repository + ":" + tag or "@" + digest
	tags      map[string][]string // by repository
}

// A document is a manifest or index as it is served.
type document struct {
	mediaType string
	data      []byte
}

// Add serves the images, each under its own name; several of one name are the
// platforms of an index. A name that was served before now names the new image.
func (r *Registry) Add(images ...*Image) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepare()
	for _, group := range byName(images) {
		for _, m := range group {
			r.add(m)
			r.put(m.Name, document{manifestType, m.Manifest})
		}
		if len(group) > 1 {
			r.put(group[0].Name, document{indexType, indexOf(group)})
		}
	}
}

// prepare makes the zero Registry usable.
func (r *Registry) prepare() {
	if r.blobs == nil {
		r.blobs, r.manifests, r.tags = map[string][]byte{}, map[string]document{}, map[string][]string{}
	}
}

// add stores the image's blobs.
func (r *Registry) add(m *Image) {
	for _, b := range append([][]byte{m.Config}, m.Blobs...) {
		r.blobs[Digest(b)] = b
	}
}

// put stores a document under the name and its digest.
func (r *Registry) put(name string, d document) {
	repository, tag := SplitName(name)
	r.manifests[repository+":"+tag] = d
	r.manifests[repository+"@"+Digest(d.data)] = d
	if !slices.Contains(r.tags[repository], tag) {
		r.tags[repository] = append(r.tags[repository], tag)
		slices.Sort(r.tags[repository])
	}
}

// ServeHTTP answers as a registry does (OCI distribution-spec, "Pull" and
// "Content discovery"); blobs honour Range.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := strings.TrimPrefix(req.URL.Path, "/v2/")
	switch {
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
	case p == "":
		w.WriteHeader(http.StatusOK)
	case p == "_catalog":
		writeJSON(w, map[string]any{"repositories": r.repositories()})
	case strings.HasSuffix(p, "/tags/list"):
		repository := strings.TrimSuffix(p, "/tags/list")
		if r.tags[repository] == nil {
			refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
			return
		}
		writeJSON(w, map[string]any{"name": repository, "tags": r.tags[repository]})
	case strings.Contains(p, "/manifests/"):
		r.serveManifest(w, req, p)
	case strings.Contains(p, "/blobs/"):
		_, digest, _ := strings.Cut(p, "/blobs/")
		b, ok := r.blobs[digest]
		if !ok {
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Docker-Content-Digest", digest)
		http.ServeContent(w, req, "", Epoch, bytes.NewReader(b))
	default:
		refuse(w, http.StatusNotFound, "UNSUPPORTED")
	}
}

func (r *Registry) serveManifest(w http.ResponseWriter, req *http.Request, p string) {
	repository, ref, _ := strings.Cut(p, "/manifests/")
	separator := ":"
	if strings.Contains(ref, ":") {
		separator = "@"
	}
	d, ok := r.manifests[repository+separator+ref]
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", d.mediaType)
	w.Header().Set("Docker-Content-Digest", Digest(d.data))
	http.ServeContent(w, req, "", Epoch, bytes.NewReader(d.data))
}

func (r *Registry) repositories() []string {
	names := []string{}
	for name := range r.tags {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// refuse answers with an error of the distribution-spec.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(map[string]any{"errors": []map[string]string{{"code": code}}})) // the client went away
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client went away
}
