package event

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// A githubPackage is a package of the events "package" and "registry_package".
type githubPackage struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Type      string `json:"package_type"`
	UpdatedAt string `json:"updated_at"`
	Owner     struct {
		Login string `json:"login"`
	} `json:"owner"`
	Version *struct {
		Version   string `json:"version"`
		URL       string `json:"package_url"`
		Container *struct {
			Tag struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

// parseGitHub reads the events "package" and "registry_package" about containers;
// their actions are "published" and "updated", and nothing tells of deletions.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#package
func parseGitHub(header http.Header, body []byte) ([]Event, error) {
	switch header.Get("X-GitHub-Event") {
	case "", "package", "registry_package":
	default: // "ping", and what else the webhook was set up for
		return nil, nil
	}
	var hook struct {
		Action          string         `json:"action"`
		Package         *githubPackage `json:"package"`
		RegistryPackage *githubPackage `json:"registry_package"`
	}
	if err := json.Unmarshal(body, &hook); err != nil {
		return nil, err
	}
	p := hook.Package
	if p == nil {
		p = hook.RegistryPackage
	}
	if p == nil {
		return nil, errors.New("no package in it")
	}
	if hook.Action != "published" && hook.Action != "updated" {
		return nil, nil
	}
	return one(p.event()), nil
}

// event tells of a container; others are packages of npm, Maven, and the like. The
// URL is the name by which it is pulled; without one, it is made of owner and name.
func (p *githubPackage) event() (Event, bool) {
	if !strings.EqualFold(p.Type, "container") || p.Version == nil {
		return Event{}, false
	}
	owner := p.Namespace
	if owner == "" {
		owner = p.Owner.Login
	}
	e := Event{Action: Pushed, Repository: strings.ToLower(owner + "/" + p.Name), At: instant(p.UpdatedAt)}
	if n, ok := splitName(p.Version.URL); ok && strings.Contains(n.host, ".") {
		e.Registry, e.Repository, e.Tag = n.host, n.repository, n.tag
	}
	if strings.HasPrefix(p.Version.Version, "sha256:") {
		e.Digest = p.Version.Version
	}
	if c := p.Version.Container; c != nil {
		if c.Tag.Name != "" {
			e.Tag = c.Tag.Name
		}
		if c.Tag.Digest != "" {
			e.Digest = c.Tag.Digest
		}
	}
	return e, true
}
