// Package event reads what registries tell of: that an image was pushed or
// deleted. Each registry has a form of its own (CNCF Distribution, Harbor, GitHub,
// Docker Hub, Quay, Azure, Google, AWS); here they become one Event. It is pure:
// who may send one, and what follows from it, is for others to say.
package event

import "time"

// An Action is what happened to an image.
type Action string

// The actions; others are left out.
const (
	Pushed  Action = "pushed"
	Deleted Action = "deleted"
)

// An Event is one thing that happened in a registry.
type Event struct {
	Action Action
	// Registry is the host as the notification tells it; may be empty.
	Registry string
	// Repository within the registry: "team-a/web".
	Repository string
	// Tag and Digest of the image or index; one may be empty.
	Tag, Digest string
	// At is when it happened; zero when not told.
	At time.Time
}
