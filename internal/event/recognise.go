package event

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Recognise tells the form of a notification from its headers and content; Any
// when it is none that is known.
func Recognise(header http.Header, body []byte) Form {
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	switch {
	case header.Get("X-GitHub-Event") != "":
		return GitHub
	case header.Get("Aeg-Event-Type") != "":
		return Azure
	case header.Get("X-Amz-Sns-Message-Type") != "":
		return AWS
	case strings.TrimSpace(mediaType) == "application/vnd.docker.distribution.events.v2+json",
		strings.TrimSpace(mediaType) == "application/vnd.docker.distribution.events.v1+json":
		return Distribution
	}
	if b := bytes.TrimSpace(body); len(b) > 0 && b[0] == '[' {
		return Azure // the only ones that come in lists
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal(body, &keys) != nil {
		return Any
	}
	return recogniseKeys(keys)
}

// recogniseKeys tells the form from what no other form has.
func recogniseKeys(keys map[string]json.RawMessage) Form {
	has := func(names ...string) bool {
		for _, n := range names {
			if _, ok := keys[n]; !ok {
				return false
			}
		}
		return true
	}
	var kind string
	_ = json.Unmarshal(keys["type"], &kind) // not there, or no text: empty
	switch {
	case has("events"):
		return Distribution
	case has("event_data"), strings.HasPrefix(kind, "harbor."):
		return Harbor
	case strings.HasPrefix(kind, "Microsoft."), has("eventType"), has("action", "target"):
		return Azure
	case has("push_data"):
		return DockerHub
	case has("docker_url"):
		return Quay
	case has("package"), has("registry_package"):
		return GitHub
	case has("detail-type"), has("Type", "TopicArn"):
		return AWS
	case has("message", "subscription"), has("action", "digest"), has("action", "tag"):
		return Google
	}
	return Any
}
