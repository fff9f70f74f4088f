package event

import (
	"encoding/json"
	"errors"
	"fmt"
)

// An awsEvent is one of EventBridge.
type awsEvent struct {
	DetailType string `json:"detail-type"`
	Source     string `json:"source"`
	Account    string `json:"account"`
	Region     string `json:"region"`
	Time       string `json:"time"`
	Detail     struct {
		Result       string `json:"result"`
		Repository   string `json:"repository-name"`
		Digest       string `json:"image-digest"`
		Tag          string `json:"image-tag"`
		Action       string `json:"action-type"`
		ArtifactType string `json:"artifact-media-type"`
	} `json:"detail"`
}

// parseAWS reads an event of Elastic Container Registry as EventBridge sends it to
// an API destination, or as SNS wraps it, with "raw message delivery" or without.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func parseAWS(body []byte) ([]Event, error) {
	var message snsMessage
	if err := json.Unmarshal(body, &message); err != nil {
		return nil, err
	}
	switch message.Type {
	case "": // not wrapped
	case "Notification":
		body = []byte(message.Message)
	default:
		return nil, nil // about the subscription: see ReadHandshake
	}
	var e awsEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	if e.DetailType == "" {
		return nil, errors.New("no detail-type in it")
	}
	return one(e.event()), nil
}

// An snsMessage is what SNS wraps messages in.
type snsMessage struct {
	Type         string `json:"Type"`
	Message      string `json:"Message"`
	TopicARN     string `json:"TopicArn"`
	SubscribeURL string `json:"SubscribeURL"`
}

func (e *awsEvent) event() (Event, bool) {
	if e.Source != "aws.ecr" || e.DetailType != "ECR Image Action" || e.Detail.Result != "SUCCESS" || !awsImage(e.Detail.ArtifactType) {
		return Event{}, false
	}
	out := Event{Repository: e.Detail.Repository, Tag: e.Detail.Tag, Digest: e.Detail.Digest, At: instant(e.Time)}
	if e.Account != "" && e.Region != "" {
		out.Registry = fmt.Sprintf("%s.dkr.ecr.%s.amazonaws.com", e.Account, e.Region)
	}
	switch e.Detail.Action {
	case "PUSH":
		out.Action = Pushed
	case "DELETE":
		out.Action = Deleted
	default:
		return Event{}, false
	}
	return out, out.Tag != "" || out.Digest != ""
}

// awsImage tells whether the type of the configuration is that of an image; it is
// not always told, and an index has none.
func awsImage(mediaType string) bool {
	switch mediaType {
	case "", "application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json":
		return true
	}
	return false
}
