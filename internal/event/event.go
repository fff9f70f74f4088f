// Package event reads what registries tell of: that an image was pushed or
// deleted. Each registry has a form of its own (CNCF Distribution, Harbor, GitHub,
// Docker Hub, Quay, Azure, Google, AWS); here they become one Event. It is pure:
// who may send one, and what follows from it, is for others to say.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// An Action is what happened to an image.
type Action string

// The actions; others are left out.
const (
	Pushed  Action = "pushed"
	Deleted Action = "deleted"
)

// An Event is one thing that happened in a registry. Its names are checked: they
// have the form that the OCI distribution-spec asks for.
type Event struct {
	Action Action
	// Registry is the host as the notification tells it; may be empty.
	Registry string
	// Repository within the registry: "team-a/web".
	Repository string
	// Tag and Digest of the image or index; one may be empty. What is deleted with
	// a tag is the tag alone; with a digest alone it is the image, with all its
	// tags; with neither it is the whole repository.
	Tag, Digest string
	// At is when it happened; zero when not told.
	At time.Time
}

// A Form is how a registry writes its notifications.
type Form string

// The forms. Any is for senders that can't be given a path of their own: the form
// is told from the headers and the content.
const (
	Any          Form = ""
	Distribution Form = "distribution"
	Harbor       Form = "harbor"
	GitHub       Form = "github"
	DockerHub    Form = "dockerhub"
	Quay         Form = "quay"
	Azure        Form = "azure"
	Google       Form = "google"
	AWS          Form = "aws"
)

// Forms are all forms by name, without Any.
func Forms() []Form {
	return []Form{Distribution, Harbor, GitHub, DockerHub, Quay, Azure, Google, AWS}
}

// MaxSize bounds a notification, in bytes. The largest that is documented is that
// of GitHub with up to 25 MB, for events of no interest here; one about a package
// has some tens of kilobytes.
const MaxSize = 1 << 20

// maxEvents bounds the events of one notification.
const maxEvents = 1000

// ErrForm is wrapped by errors about a notification that is not in its form.
var ErrForm = errors.New("not a notification that is known")

// Parse reads a notification. What is no push and no deletion of an image (a pull,
// the push of a layer, a chart) gives no event and no error, and neither does what
// has a name that no image can have. Errors wrap ErrForm.
func Parse(form Form, header http.Header, body []byte) ([]Event, error) {
	if len(body) > MaxSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrForm, MaxSize)
	}
	if form == Any {
		form = Recognise(header, body)
	}
	events, err := parse(form, header, body)
	if err != nil {
		return nil, fmt.Errorf("%w: form %s: %w", ErrForm, form, err)
	}
	if len(events) > maxEvents {
		return nil, fmt.Errorf("%w: form %s: more than %d events", ErrForm, form, maxEvents)
	}
	return checked(events), nil
}

func parse(form Form, header http.Header, body []byte) ([]Event, error) {
	switch form {
	case Distribution:
		return parseDistribution(body)
	case Harbor:
		return parseHarbor(body)
	case GitHub:
		return parseGitHub(header, body)
	case DockerHub:
		return parseDockerHub(body)
	case Quay:
		return parseQuay(body)
	case Azure:
		return parseAzure(body)
	case Google:
		return parseGoogle(body)
	case AWS:
		return parseAWS(body)
	case Any:
		return nil, errors.New("the form is not recognised")
	}
	return nil, errors.New("there is no such form")
}

// one gives the event of a notification that has at most one.
func one(e Event, ok bool) []Event {
	if !ok {
		return nil
	}
	return []Event{e}
}

// unixSeconds is a time as some senders write it; zero for none.
func unixSeconds(n json.Number) time.Time {
	f, err := n.Float64()
	if err != nil || f <= 0 || f > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

// instant is a time in RFC 3339; zero for none, or another form.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
