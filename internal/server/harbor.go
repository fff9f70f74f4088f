package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/event"
	"strata/internal/image"
	"strata/internal/jobs"
	"strata/internal/report"
	"strata/internal/store"
)

// The scanner API of Harbor, version 1.2, by which Harbor has images scanned.
// https://github.com/goharbor/pluggable-scanner-spec, scanner-adapter-openapi-v1.2.yaml
const (
	harborMetadata = "application/vnd.scanner.adapter.metadata+json; version=1.1"
	harborAccepted = "application/vnd.scanner.adapter.scan.response+json; version=1.0"
	harborError    = "application/vnd.scanner.adapter.error+json; version=1.0"
	harborReport11 = "application/vnd.security.vulnerability.report; version=1.1"
	harborReport10 = "application/vnd.scanner.adapter.vuln.report.harbor+json; version=1.0"
	harborRaw      = "application/vnd.scanner.adapter.vuln.report.raw"
	harborBill     = "application/vnd.security.sbom.report+json; version=1.0"
)

// harborRefresh is after how many seconds Harbor is to ask again.
const harborRefresh = 5

// maxHarborRequest bounds what Harbor sends, in bytes.
const maxHarborRequest = 1 << 20

func (s *Server) registerHarbor() {
	const prefix = "/scanner/api/v1"
	s.mux.HandleFunc("GET "+prefix+"/metadata", s.harbor(s.harborMetadata))
	s.mux.HandleFunc("POST "+prefix+"/scan", s.harbor(s.harborScan))
	s.mux.HandleFunc("GET "+prefix+"/scan/{id}/report", s.harbor(s.harborReport))
}

// harbor finds out who asks, by an API token in any of the places in which Harbor can
// send one, and makes answers of errors in the form that Harbor reads.
func (s *Server) harbor(handle func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := s.harborIdentity(r)
		if err == nil {
			r = r.WithContext(auth.With(r.Context(), who))
			err = handle(w, r)
		}
		if err == nil {
			return
		}
		var status huma.StatusError
		if !errors.As(s.fail(r.Context(), err), &status) {
			status = huma.Error500InternalServerError("something went wrong in the server")
		}
		if status.GetStatus() == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="strata"`)
		}
		writeJSON(w, status.GetStatus(), harborError, map[string]any{"error": map[string]string{"message": status.Error()}})
	}
}

// harborIdentity is who asks: "APIKey" sends the token in a header of its own,
// "Bearer" and "Basic" (as password) in Authorization.
func (s *Server) harborIdentity(r *http.Request) (*auth.Identity, error) {
	token := r.Header.Get("X-ScannerAdapter-API-Key")
	if _, password, ok := r.BasicAuth(); ok && token == "" {
		token = password
	}
	if token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token)
	}
	who, err := s.access.Authenticate(r)
	switch {
	case err != nil:
		return nil, s.failAuth(r.Context(), err)
	case who == nil || r.Header.Get("Authorization") == "": // a browser's session is none of Harbor's
		return nil, huma.Error401Unauthorized("send a token of Strata: as API key, bearer, or password")
	}
	return who, nil
}

// A harborCapability is what the scanner can do with which images.
type harborCapability struct {
	Type       string         `json:"type"`
	Consumes   []string       `json:"consumes_mime_types"`
	Produces   []string       `json:"produces_mime_types"`
	Attributes map[string]any `json:"additional_attributes,omitempty"`
}

// harborImages are the types of what can be scanned.
func harborImages() []string {
	return []string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
}

func harborBills() []string { return []string{report.HarborSPDX, report.HarborCycloneDX} }

func (s *Server) harborMetadata(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, harborMetadata, map[string]any{
		"scanner": report.HarborScanner{Name: "Strata", Vendor: "Strata", Version: s.o.Version},
		"capabilities": []harborCapability{
			{Type: "vulnerability", Consumes: harborImages(), Produces: []string{harborReport11, harborReport10, harborRaw}},
			{Type: "sbom", Consumes: harborImages(), Produces: []string{harborBill}, Attributes: map[string]any{"sbom_media_types": harborBills()}},
		},
		"properties": map[string]string{"harbor.scanner-adapter/scanner-type": "os-package-vulnerability", "org.label-schema.version": s.o.Version},
	})
	return nil
}

// A harborRequest is what Harbor asks for.
type harborRequest struct {
	Registry struct {
		URL           string `json:"url"`
		Authorization string `json:"authorization"`
	} `json:"registry"`
	Artifact     report.HarborArtifact `json:"artifact"`
	Capabilities []struct {
		Type       string `json:"type"`
		Parameters struct {
			MediaTypes []string `json:"sbom_media_types"`
		} `json:"parameters"`
	} `json:"enabled_capabilities"`
}

// check says what is wrong with a request: 422 for what is not well-formed, 501 for
// what can't be done.
func (h *harborRequest) check() error {
	u, err := url.Parse(h.Registry.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return huma.Error422UnprocessableEntity("registry.url is missing, or no URL of a registry")
	case !event.ValidName(h.Artifact.Repository, h.Artifact.Tag):
		return huma.Error422UnprocessableEntity("artifact.repository is missing, or no name of a repository")
	case image.Digest(h.Artifact.Digest).Validate() != nil:
		return huma.Error422UnprocessableEntity("artifact.digest is missing, or no sha256 digest")
	case strings.ContainsAny(h.Registry.Authorization, "\r\n") || len(h.Registry.Authorization) > 16<<10:
		return huma.Error422UnprocessableEntity("registry.authorization is no value of a header")
	case h.Artifact.MimeType != "" && !slices.Contains(harborImages(), h.Artifact.MimeType):
		return huma.Error501NotImplemented("artifacts of type " + h.Artifact.MimeType + " can't be scanned")
	}
	for _, c := range h.Capabilities {
		if c.Type != "vulnerability" && c.Type != "sbom" {
			return huma.Error501NotImplemented("there is no capability " + c.Type)
		}
		for _, m := range c.Parameters.MediaTypes {
			if !slices.Contains(harborBills(), m) {
				return huma.Error501NotImplemented("there is no bill of materials as " + m)
			}
		}
	}
	return nil
}

// harborScan takes a request: the image is due, as when it was pushed.
func (s *Server) harborScan(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxHarborRequest))
	if err != nil {
		return tooLarge(err)
	}
	var in harborRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return huma.Error400BadRequest("this is not the JSON of a scan request: " + err.Error())
	}
	if err := in.check(); err != nil {
		return err
	}
	ctx := r.Context()
	name, err := s.o.DB.RegistryNameOf(ctx, in.Registry.URL)
	if err != nil {
		return err
	}
	if name += "/" + in.Artifact.Repository; !auth.Match(auth.From(ctx).Scope(auth.Developer), name) {
		return huma.Error403Forbidden("this needs the role developer over " + name)
	}
	registry, _, err := s.o.DB.RegistryOf(ctx, in.Registry.URL)
	if err != nil {
		return err
	}
	kept, err := json.Marshal(in.Artifact)
	if err != nil {
		return err
	}
	id, manifest, due, err := s.o.DB.RequestScan(ctx, registry, int(jobs.ForPush),
		store.Named{Repository: in.Artifact.Repository, Tag: in.Artifact.Tag, Digest: in.Artifact.Digest}, string(kept), in.Registry.Authorization)
	if err != nil {
		return err
	}
	if due {
		if err := s.enqueueScans(ctx, []int64{manifest}, jobs.ForPush); err != nil {
			return err
		}
	}
	writeJSON(w, http.StatusAccepted, harborAccepted, map[string]string{"id": id})
	return nil
}

// harborReport gives the report, or says that it is not ready.
func (s *Server) harborReport(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	wanted, err := harborAccept(r)
	if err != nil {
		return err
	}
	req, err := s.o.DB.ScanRequest(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	if !auth.Match(auth.From(ctx).Scope(auth.Viewer), req.Name) {
		return fmt.Errorf("scan request: %w", store.ErrNotFound)
	}
	switch req.State {
	case "due", "scanning":
		w.Header().Set("Refresh-After", strconv.Itoa(harborRefresh))
		w.Header().Set("Location", r.URL.RequestURI())
		w.WriteHeader(http.StatusFound)
		return nil
	case "scanned":
		return s.writeHarborReport(w, r, req, wanted)
	}
	reason := req.Reason
	if reason == "" {
		reason = "it is " + req.State
	}
	return huma.Error500InternalServerError("the image could not be scanned: " + reason)
}

// harborAccept is the type of report that is asked for.
func harborAccept(r *http.Request) (string, error) {
	accept := r.Header.Get("Accept")
	if accept == "" || accept == "*/*" {
		return harborReport10, nil
	}
	asked, params, err := mime.ParseMediaType(accept)
	for _, known := range []string{harborReport11, harborReport10, harborRaw, harborBill} {
		mediaType, want, _ := mime.ParseMediaType(known) // they are well-formed
		if err == nil && asked == mediaType && (params["version"] == "" || params["version"] == want["version"]) {
			return known, nil
		}
	}
	return "", huma.Error501NotImplemented("there is no report as " + accept)
}

func (s *Server) writeHarborReport(w http.ResponseWriter, r *http.Request, req *store.ScanRequest, wanted string) error {
	bill := r.URL.Query().Get("sbom_media_type")
	if wanted == harborBill && !slices.Contains(harborBills(), bill) {
		return huma.Error400BadRequest("sbom_media_type is missing, or neither " + strings.Join(harborBills(), " nor "))
	}
	if s.o.Reports == nil {
		return huma.Error501NotImplemented("this server makes no reports")
	}
	var artifact report.HarborArtifact
	if err := json.Unmarshal([]byte(req.Request), &artifact); err != nil {
		return fmt.Errorf("scan request %s: %w", req.ID, err)
	}
	id, err := s.o.DB.ImageOfManifest(r.Context(), req.Manifest)
	if err != nil {
		return err
	}
	made, err := s.o.Reports.Report(r.Context(), id)
	if err != nil {
		return err
	}
	var out any
	switch wanted {
	case harborBill:
		if out, err = made.HarborBill(artifact, bill, s.o.Now()); err != nil {
			return err
		}
	case harborRaw:
		w.Header().Set("Content-Type", wanted)
		return report.CompactJSON(w, made)
	default:
		out = made.Harbor(artifact, s.o.Now())
	}
	writeJSON(w, http.StatusOK, wanted, out)
	return nil
}
