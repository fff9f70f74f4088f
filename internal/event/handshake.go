package event

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
)

// A Handshake is what a sender asks before it sends: proof that the receiver wants
// to be sent to.
type Handshake struct {
	// ValidationCode is to be sent back in the answer (Azure Event Grid).
	// https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
	ValidationCode string
	// SubscribeURL is to be visited (AWS SNS). It is one of SNS and nothing else:
	// https, with a host sns.REGION.amazonaws.com.
	// https://docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html
	SubscribeURL string
	// Topic asks for it: the ARN of SNS.
	Topic string
}

// ReadHandshake tells whether a notification asks for one; ok is false for all
// others. The error is for one that asks for something it must not.
func ReadHandshake(header http.Header, body []byte) (h Handshake, ok bool, err error) {
	if len(body) > MaxSize {
		return Handshake{}, false, nil
	}
	switch Recognise(header, body) {
	case Azure:
		h.ValidationCode = azureCode(body)
		return h, h.ValidationCode != "", nil
	case AWS:
		var m snsMessage
		if json.Unmarshal(body, &m) != nil || m.Type != "SubscriptionConfirmation" {
			return Handshake{}, false, nil
		}
		if !isSNS(m.SubscribeURL) {
			return Handshake{}, true, fmt.Errorf("%w: the URL to confirm the subscription of %q at is not one of SNS: %q", ErrForm, m.TopicARN, m.SubscribeURL)
		}
		return Handshake{SubscribeURL: m.SubscribeURL, Topic: m.TopicARN}, true, nil
	}
	return Handshake{}, false, nil
}

func azureCode(body []byte) string {
	events, err := azureEvents(body)
	if err != nil {
		return ""
	}
	for _, e := range events {
		var data struct {
			ValidationCode string `json:"validationCode"`
		}
		if e.kind() == azureValidation && json.Unmarshal(e.Data, &data) == nil && data.ValidationCode != "" {
			return data.ValidationCode
		}
	}
	return ""
}

// isSNS tells whether a URL leads to SNS.
func isSNS(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" {
		return false
	}
	ok, _ := regexp.MatchString(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`, u.Hostname()) // the pattern is right: no error
	return ok
}
