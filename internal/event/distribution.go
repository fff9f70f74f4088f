package event

import (
	"encoding/json"
	"errors"
)

// parseDistribution reads an envelope of CNCF Distribution, which comes as
// application/vnd.docker.distribution.events.v2+json.
// https://distribution.github.io/distribution/about/notifications/
func parseDistribution(body []byte) ([]Event, error) {
	var envelope struct {
		Events []targetEvent `json:"events"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, err
	}
	if envelope.Events == nil {
		return nil, errors.New("no events in it")
	}
	var out []Event
	for _, e := range envelope.Events {
		out = append(out, one(e.event())...)
	}
	return out, nil
}

// A targetEvent is one event of Distribution. Azure has the same.
type targetEvent struct {
	Timestamp string `json:"timestamp"`
	Action    string `json:"action"`
	Target    struct {
		MediaType  string `json:"mediaType"`
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
}

// event tells what happened; nothing for pulls, mounts, and layers. Deletions have
// a media type only at Azure: there is a tag, a digest, or neither, when the whole
// repository went. Distribution tells of a deleted layer by its digest, too; as
// no image has that digest, nothing comes of it.
func (e *targetEvent) event() (Event, bool) {
	out := Event{
		Registry: e.Request.Host, Repository: e.Target.Repository,
		Tag: e.Target.Tag, Digest: e.Target.Digest, At: instant(e.Timestamp),
	}
	switch e.Action {
	case "push":
		out.Action = Pushed
		return out, isImage(e.Target.MediaType)
	case "delete":
		out.Action = Deleted
		return out, e.Target.MediaType == "" || isImage(e.Target.MediaType)
	}
	return Event{}, false
}
