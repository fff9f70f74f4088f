package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
)

// The types of Event Grid that matter here; charts have types of their own.
const (
	azurePushed     = "Microsoft.ContainerRegistry.ImagePushed"
	azureDeleted    = "Microsoft.ContainerRegistry.ImageDeleted"
	azureValidation = "Microsoft.EventGrid.SubscriptionValidationEvent"
)

// An azureEvent is one of Event Grid: in its own schema (eventType) or in that of
// CloudEvents (type).
type azureEvent struct {
	EventType string          `json:"eventType"`
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
}

func (e *azureEvent) kind() string {
	if e.EventType != "" {
		return e.EventType
	}
	return e.Type
}

// parseAzure reads what Azure Container Registry tells through Event Grid, in
// either schema and in batches, or by a webhook of its own, whose content is that
// of one event of Distribution.
// https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
// https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
func parseAzure(body []byte) ([]Event, error) {
	events, err := azureEvents(body)
	if err != nil {
		return nil, err
	}
	var out []Event
	for _, e := range events {
		target := e.Data
		switch e.kind() {
		case azurePushed, azureDeleted:
		case "": // a webhook of the registry
			target = body
		default:
			continue
		}
		var t targetEvent
		if err := json.Unmarshal(target, &t); err != nil {
			return nil, err
		}
		if e.kind() == "" && t.Action == "" {
			return nil, errors.New("no action in it")
		}
		out = append(out, one(t.event())...)
	}
	return out, nil
}

// azureEvents are those of a batch, or a single one.
func azureEvents(body []byte) (events []azureEvent, err error) {
	if b := bytes.TrimSpace(body); len(b) == 0 || b[0] != '[' {
		var e azureEvent
		err := json.Unmarshal(body, &e)
		return []azureEvent{e}, err
	}
	if err := json.Unmarshal(body, &events); err != nil {
		return nil, err
	}
	for _, e := range events {
		if e.kind() == "" {
			return nil, errors.New("an event without a type in it")
		}
	}
	return events, nil
}

func sortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }
