package event

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// A harborData is what both forms of Harbor's webhooks have in common.
type harborData struct {
	Resources []struct {
		Digest      string `json:"digest"`
		Tag         string `json:"tag"`
		ResourceURL string `json:"resource_url"`
	} `json:"resources"`
	Repository struct {
		FullName string `json:"repo_full_name"`
	} `json:"repository"`
}

// parseHarbor reads a webhook of Harbor in its form "Default" or "CloudEvents".
// https://goharbor.io/docs/edge/working-with-projects/project-configuration/configure-webhooks/
func parseHarbor(body []byte) ([]Event, error) {
	var hook struct {
		Type string `json:"type"`
		// Default:
		OccurAt   json.Number `json:"occur_at"`
		EventData *harborData `json:"event_data"`
		// CloudEvents:
		Time string      `json:"time"`
		Data *harborData `json:"data"`
	}
	if err := json.Unmarshal(body, &hook); err != nil {
		return nil, err
	}
	data, at := hook.EventData, unixSeconds(hook.OccurAt)
	if data == nil {
		data, at = hook.Data, instant(hook.Time)
	}
	switch hook.Type {
	case "":
		return nil, errors.New("no type in it")
	case "PUSH_ARTIFACT", "harbor.artifact.pushed":
		return data.events(Pushed, at)
	case "DELETE_ARTIFACT", "harbor.artifact.deleted":
		return data.events(Deleted, at)
	}
	return nil, nil
}

// events has one for each resource, which is a tag; one without a tag has the
// digest in its place. A deletion is always that of the image, with its tags.
func (d *harborData) events(action Action, at time.Time) ([]Event, error) {
	if d == nil {
		return nil, errors.New("no data in it")
	}
	var out []Event
	for _, r := range d.Resources {
		e := Event{Action: action, Repository: d.Repository.FullName, Tag: r.Tag, Digest: r.Digest, At: at}
		if n, ok := splitName(r.ResourceURL); ok {
			e.Registry = n.host
		}
		if strings.Contains(e.Tag, ":") {
			e.Tag = ""
		}
		out = append(out, e)
		if action == Deleted && e.Tag != "" && e.Digest != "" {
			e.Tag = ""
			out = append(out, e)
		}
	}
	return out, nil
}
