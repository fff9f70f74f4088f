package event

import (
	"encoding/json"
	"errors"
)

// parseGoogle reads what Artifact Registry publishes to the topic "gcr", as Pub/Sub
// pushes it: wrapped in a message, or unwrapped.
// https://cloud.google.com/artifact-registry/docs/configure-notifications
// https://cloud.google.com/pubsub/docs/push
func parseGoogle(body []byte) ([]Event, error) {
	var push struct {
		Message *struct {
			Data        []byte `json:"data"` // base64
			PublishTime string `json:"publishTime"`
		} `json:"message"`
	}
	if err := json.Unmarshal(body, &push); err != nil {
		return nil, err
	}
	at := ""
	if push.Message != nil {
		body, at = push.Message.Data, push.Message.PublishTime
	}
	var change struct {
		Action string `json:"action"`
		Digest string `json:"digest"`
		Tag    string `json:"tag"`
	}
	if err := json.Unmarshal(body, &change); err != nil {
		return nil, err
	}
	if change.Action == "" {
		return nil, errors.New("no action in it")
	}
	action, known := map[string]Action{"INSERT": Pushed, "DELETE": Deleted}[change.Action]
	if !known {
		return nil, nil
	}
	tag, isTag := splitName(change.Tag)
	digest, isDigest := splitName(change.Digest)
	e := Event{Action: action, Tag: tag.tag, Digest: digest.digest, At: instant(at)}
	switch {
	case isTag:
		e.Registry, e.Repository = tag.host, tag.repository
	case isDigest:
		e.Registry, e.Repository = digest.host, digest.repository
	default:
		return nil, errors.New("neither tag nor digest in it")
	}
	// A deletion without what it names would be that of the whole repository.
	return one(e, e.Tag != "" || e.Digest != ""), nil
}
