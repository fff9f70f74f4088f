package web

import (
	"net/http"
	"time"

	"strata/internal/notify"
)

// A notification is one message to one receiver.
type notification struct {
	ID                                                   int64
	Delivery, Receiver, Recipient, Subject, State, Error string
	Groups                                               []notify.Group
	Attempts                                             int
	DueAt                                                time.Time `json:"due_at"`
	CreatedAt                                            time.Time `json:"created_at"`
	DeliveredAt                                          time.Time `json:"delivered_at"`
}

// notifications lists what was told to whom, and what could not be.
func (s *Site) notifications(v *visit) error {
	p := struct {
		listPage[notification]
		State  string
		States []string
	}{State: v.r.FormValue("state"), States: []string{"due", "sending", "sent", "failed"}}
	p.URL = v.r.URL
	if err := v.get("/notifications", v.asked("state", "cursor"), &p.listPage); err != nil {
		return err
	}
	v.show(http.StatusOK, "notifications", "Notifications", p)
	return nil
}

func (s *Site) resend(v *visit) error {
	return v.act("POST", v.at("/notifications", "id", "resend"), nil, v.back("/notifications"), "It is sent once more, as the same delivery.")
}
