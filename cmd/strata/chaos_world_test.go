package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strata/internal/imagetest"
)

// chaosBases is how many bases there are.
const chaosBases = 4

// chaosImage is the n-th image: one of a few bases, one of some runtimes, and a layer of
// its own, each with npm packages that tell by their name what is wrong with them.
func chaosImage(t *testing.T, n int) *imagetest.Image {
	t.Helper()
	pkg := func(dir, name, version string) imagetest.Entry {
		return imagetest.File(dir+"/node_modules/"+name+"/package.json", fmt.Sprintf(`{"name": %q, "version": %q, "license": "MIT"}`, name, version))
	}
	layer := func(by string, entries ...imagetest.Entry) imagetest.Layer {
		return imagetest.Layer{CreatedBy: by, Entries: entries, Compression: imagetest.Gzip}
	}
	base, runtime := n%chaosBases, n%20
	lowest, middle := layer(fmt.Sprintf("ADD base%d /", base)), layer(fmt.Sprintf("RUN install runtime%d", runtime))
	for i := range 5 {
		lowest.Entries = append(lowest.Entries, pkg("usr/lib", fmt.Sprintf("base%d-%d", base, i), "1.0.0"))
		middle.Entries = append(middle.Entries, pkg("opt", fmt.Sprintf("runtime%d-%d", runtime, i), "2.0.0"))
	}
	// Something to read: a layer takes some time.
	middle.Entries = append(middle.Entries, imagetest.File("opt/data", strings.Repeat(fmt.Sprintf("%d of %d ", runtime, n%20), 200_000)))
	spec := &imagetest.Spec{
		Name:   fmt.Sprintf("team%d/app%d:v%d", n%5, n%25, n),
		Layers: []imagetest.Layer{lowest, middle, layer("COPY . /app", pkg("app", fmt.Sprintf("app%d", n), "1.0.0"), pkg("app", "left-pad", fmt.Sprintf("1.%d.0", n%7)))},
	}
	m, err := spec.Build()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// writeChaosFeed writes a mirror of advisories; later has news.
func writeChaosFeed(t *testing.T, dir string, later bool) {
	t.Helper()
	records := t.TempDir()
	advisory := func(id, name, fixed, vector string) {
		text := fmt.Sprintf(`{"schema_version": "1.6.0", "id": %q, "modified": "2026-01-0%dT00:00:00Z", "published": "2026-01-01T00:00:00Z", "summary": "%s is flawed",
			"severity": [{"type": "CVSS_V3", "score": %q}],
			"affected": [{"package": {"ecosystem": "npm", "name": %q}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": %q}]}]}]}`, id, 1+len(fixed)%2, name, vector, name, fixed)
		path := filepath.Join(records, "npm", id+".json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const high = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
	advisory("GHSA-base-0000-0001", "base0-1", "1.0.1", high)
	advisory("GHSA-run3-0000-0002", "runtime3-2", "2.0.1", high)
	advisory("GHSA-left-0000-0003", "left-pad", "1.3.0", high)
	if later {
		advisory("GHSA-news-0000-0004", "base1-4", "1.0.1", high)
		advisory("GHSA-news-0000-0005", "runtime7-0", "3.0.0", high)
	}
	if err := writeMirror(dir, records); err != nil {
		t.Fatal(err)
	}
}

// A chaosRegistry is Debian's docker-registry, which tells the balancer what is pushed.
type chaosRegistry struct {
	t       *testing.T
	address string
	cable   *cable
	dir     string
	cmd     *exec.Cmd
}

func startChaosRegistry(t *testing.T) *chaosRegistry {
	t.Helper()
	program(t, "docker-registry")
	r := &chaosRegistry{t: t, address: "127.0.0.1:" + freePort(t), dir: t.TempDir()}
	r.start("", "", "")
	r.cable = newCable(t, "tcp", r.address)
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	return r
}

// start starts it anew, with notifications for a URL where one is given.
func (r *chaosRegistry) start(hook, secret, cert string) {
	r.t.Helper()
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}}\nhttp: {addr: %s, secret: test}\n", r.dir, r.address)
	if hook != "" {
		text += fmt.Sprintf("notifications: {endpoints: [{name: strata, url: %q, headers: {Authorization: [Bearer %s]}, timeout: 5s, threshold: 3, backoff: 1s}]}\n", hook, secret)
	}
	config := filepath.Join(r.dir, "config.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.cmd = exec.CommandContext(r.t.Context(), "docker-registry", "serve", config)
	r.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+cert)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	for range 200 {
		if res, err := http.Get("http://" + r.address + "/v2/"); err == nil {
			_ = res.Body.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.t.Fatal("docker-registry doesn't start")
}

// push uploads an image (OCI distribution-spec, "Push").
func (r *chaosRegistry) push(m *imagetest.Image) error {
	repository, tag := imagetest.SplitName(m.Name)
	base := "http://" + r.address + "/v2/" + repository
	for _, blob := range append([][]byte{m.Config}, m.Blobs...) {
		if err := r.upload(base, blob); err != nil {
			return fmt.Errorf("push %s: %w", m.Name, err)
		}
	}
	status, _, err := send("PUT", base+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", m.Manifest)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("push %s: status %d", m.Name, status)
	}
	return err
}

func (r *chaosRegistry) upload(base string, blob []byte) error {
	digest := imagetest.Digest(blob)
	if status, _, err := send("HEAD", base+"/blobs/"+digest, "", nil); err != nil || status == http.StatusOK {
		return err
	}
	status, header, err := send("POST", base+"/blobs/uploads/", "", nil)
	if err != nil || status != http.StatusAccepted {
		return fmt.Errorf("upload: status %d, %w", status, err)
	}
	to, err := url.Parse(header.Get("Location"))
	if err != nil {
		return err
	}
	query := to.Query()
	query.Set("digest", digest)
	to.RawQuery = query.Encode()
	status, _, err = send("PUT", to.String(), "application/octet-stream", blob)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("upload: status %d", status)
	}
	return err
}

func send(method, url, contentType string, body []byte) (int, http.Header, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header, err
}

// A chaosReceiver takes notifications, and now and then doesn't.
type chaosReceiver struct {
	url string
	mu  sync.Mutex
	// got is how often each delivery came, by its id.
	got     map[string]int
	refuses atomic.Bool
}

func startChaosReceiver(t *testing.T) *chaosReceiver {
	t.Helper()
	r := &chaosReceiver{got: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if r.refuses.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.mu.Lock()
		r.got[req.Header.Get("Webhook-Id")]++
		r.mu.Unlock()
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// A chaosAPI is the JSON API at a URL, with a token.
type chaosAPI struct {
	t      *testing.T
	client *http.Client
	url    string
	token  string
	// registry is where the images are, for this server: HOST:PORT.
	registry string
}

// call asks until there is an answer, and wants it to be a good one.
func (a *chaosAPI) call(method, path string, body, into any) {
	a.t.Helper()
	var last string
	for range 100 {
		status, text, err := a.try(method, path, body)
		if err == nil && status < 300 {
			if into != nil {
				if err := json.Unmarshal(text, into); err != nil {
					a.t.Fatalf("%s %s: %v\n%s", method, path, err, text)
				}
			}
			return
		}
		last = fmt.Sprintf("status %d, %v: %s", status, err, text)
		if err == nil && status < 500 && status != http.StatusTooManyRequests {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	a.t.Fatalf("%s %s: %s", method, path, last)
}

func (a *chaosAPI) try(method, path string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	if body == nil {
		b = nil
	}
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

// pages reads a list to its end.
func chaosPages[T any](a *chaosAPI, path string) (out []T) {
	a.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		a.call("GET", path+"limit=200&cursor="+url.QueryEscape(cursor), nil, &page)
		out = append(out, page.Items...)
		if page.Next == "" {
			return out
		}
		cursor = page.Next
	}
}

// setUp makes the registry, a policy, a receiver where one is given, and a watch. rate is how
// many requests a second the registry may be asked; 0 is the default.
func (a *chaosAPI) setUp(registry, receiver string, rate int) {
	a.t.Helper()
	a.registry = strings.TrimPrefix(registry, "http://")
	a.call("PUT", "/api/v1/policies/chaos", map[string]string{"text": "name: chaos\nrules:\n  - name: grave\n    when: finding.severity_rank >= severity('high')\n    action: fail\n"}, nil)
	watch := map[string]any{"policies": []string{"chaos"}, "scope": map[string]any{}}
	if receiver != "" {
		a.call("PUT", "/api/v1/receivers/hook", map[string]any{"kind": "webhook", "secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0", "settings": map[string]any{"url": receiver}}, nil)
		watch["receivers"] = []string{"hook"}
	}
	a.call("PUT", "/api/v1/watches/all", watch, nil)
	a.call("POST", "/api/v1/registries", map[string]any{"name": "fleet", "url": registry, "settings": map[string]any{"rate": rate}}, nil)
}

// A chaosResult is what a server knows in the end: of each image by its tag.
type chaosResult struct {
	Names, Digests map[string]string
	Reports        map[string]string
	Counts         map[string]string
	Violations     []string
}

func (a *chaosAPI) result() chaosResult {
	a.t.Helper()
	syncedAt := regexp.MustCompile(`"updated": "[^"]+"`) // when the feeds were read, which the calm server did at another time
	r := chaosResult{Names: map[string]string{}, Digests: map[string]string{}, Reports: map[string]string{}, Counts: map[string]string{}}
	type row struct {
		ID     int64
		Digest string
		Names  []string
		Counts map[string]int
	}
	ids := map[int64]string{}
	for _, m := range chaosPages[row](a, "/api/v1/images?") {
		name := strings.Join(m.Names, " ")
		ids[m.ID] = name
		r.Digests[name], r.Counts[name] = m.Digest, fmt.Sprint(m.Counts)
		_, text, err := a.try("GET", fmt.Sprintf("/api/v1/images/%d/report", m.ID), nil)
		if err != nil {
			a.t.Fatal(err)
		}
		// The calm server has a cable of its own to the registry.
		r.Reports[name] = strings.ReplaceAll(syncedAt.ReplaceAllString(string(text), `"updated": "then"`), a.registry, "registry")
	}
	type violation struct {
		Image                                                 int64
		Watch, Policy, Rule, Decision, Vulnerability, Package string
	}
	for _, v := range chaosPages[violation](a, "/api/v1/violations?resolved=false&") {
		r.Violations = append(r.Violations, strings.Join([]string{ids[v.Image], v.Watch, v.Policy, v.Rule, v.Decision, v.Vulnerability, v.Package}, " "))
	}
	slices.Sort(r.Violations)
	return r
}
