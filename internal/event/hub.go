package event

import (
	"encoding/json"
	"errors"
)

// parseDockerHub reads a webhook of Docker Hub, which tells of pushes alone.
// https://docs.docker.com/docker-hub/repos/manage/webhooks/
func parseDockerHub(body []byte) ([]Event, error) {
	var hook struct {
		PushData *struct {
			PushedAt json.Number `json:"pushed_at"`
			Tag      string      `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			RepoName string `json:"repo_name"`
		} `json:"repository"`
	}
	if err := json.Unmarshal(body, &hook); err != nil {
		return nil, err
	}
	if hook.PushData == nil {
		return nil, errors.New("no push_data in it")
	}
	return []Event{{
		Action: Pushed, Registry: "docker.io", Repository: hook.Repository.RepoName,
		Tag: hook.PushData.Tag, At: unixSeconds(hook.PushData.PushedAt),
	}}, nil
}

// parseQuay reads a notification of Quay about a push; it has others, of which
// none is about images.
// https://docs.redhat.com/en/documentation/red_hat_quay/3.8/html/use_red_hat_quay/repository_notifications
func parseQuay(body []byte) ([]Event, error) {
	var hook struct {
		Repository string          `json:"repository"`
		DockerURL  string          `json:"docker_url"`
		Tags       json.RawMessage `json:"updated_tags"`
	}
	if err := json.Unmarshal(body, &hook); err != nil {
		return nil, err
	}
	if hook.Repository == "" {
		return nil, errors.New("no repository in it")
	}
	tags, err := quayTags(hook.Tags)
	if err != nil {
		return nil, err
	}
	host, _ := splitName(hook.DockerURL)
	var out []Event
	for _, tag := range tags {
		out = append(out, Event{Action: Pushed, Registry: host.host, Repository: hook.Repository, Tag: tag})
	}
	return out, nil
}

// quayTags are a list; long ago they were the keys of a map, whose values are not
// digests of manifests.
func quayTags(raw json.RawMessage) (tags []string, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &tags); err == nil {
		return tags, nil
	}
	var byTag map[string]json.RawMessage
	if err := json.Unmarshal(raw, &byTag); err != nil {
		return nil, err
	}
	return sortedKeys(byTag), nil
}
