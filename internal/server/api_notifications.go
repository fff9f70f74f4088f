package server

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strata/internal/auth"
	"strata/internal/jobs"
	"strata/internal/notify"
)

// A Notification is one message to one receiver.
type Notification struct {
	ID          int64          `json:"id"`
	Delivery    string         `json:"delivery" doc:"the id that the receiver knows it by, the same for each attempt"`
	Receiver    string         `json:"receiver"`
	Recipient   string         `json:"recipient,omitempty" doc:"the mail address that it goes to"`
	Subject     string         `json:"subject"`
	Groups      []notify.Group `json:"groups" nullable:"false" doc:"empty until the first attempt"`
	State       string         `json:"state" enum:"due,sending,sent,failed"`
	Attempts    int            `json:"attempts"`
	Error       string         `json:"error,omitempty" doc:"of the last attempt"`
	DueAt       time.Time      `json:"due_at,omitzero"`
	CreatedAt   time.Time      `json:"created_at"`
	DeliveredAt time.Time      `json:"delivered_at,omitzero"`
}

func (s *Server) registerNotifications() {
	huma.Register(s.api, operation("GET", "/notifications", "list-notifications", "List notifications, the newest first", "notifications", auth.Security), s.listNotifications)
	huma.Register(s.api, noContent(operation("POST", "/notifications/{id}/resend", "resend-notification", "Send a notification once more, as the same delivery", "notifications", auth.Security)), s.resendNotification)
}

func (s *Server) listNotifications(ctx context.Context, in *struct {
	PageInput
	State string `query:"state" enum:"due,sending,sent,failed"`
}) (*struct{ Body Page[Notification] }, error) {
	var before int64
	if err := decodeCursor("notifications", in.Cursor, &before); err != nil {
		return nil, err
	}
	rows, err := s.o.DB.Notifications(ctx, in.State, before, in.Limit+1)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := make([]Notification, len(rows))
	for i := range rows {
		n := &rows[i]
		out[i] = Notification{
			ID: n.ID, Delivery: n.Delivery, Receiver: n.ReceiverName, Recipient: n.Recipient, Subject: n.Subject, State: n.State, Attempts: n.Attempts,
			Error: n.Error, DueAt: n.DueAt, CreatedAt: n.CreatedAt, DeliveredAt: n.DeliveredAt, Groups: []notify.Group{},
		}
		if n.Payload != "" {
			if err := json.Unmarshal([]byte(n.Payload), &out[i].Groups); err != nil {
				return nil, s.fail(ctx, err)
			}
		}
	}
	return &struct{ Body Page[Notification] }{pageOf("notifications", out, in.Limit, func(n *Notification) any { return n.ID })}, nil
}

func (s *Server) resendNotification(ctx context.Context, in *struct {
	ID int64 `path:"id" minimum:"1"`
}) (*struct{}, error) {
	if err := s.o.DB.ResendNotification(ctx, in.ID); err != nil {
		return nil, s.fail(ctx, err)
	}
	if err := s.audit(ctx, "resend-notification", strconv.FormatInt(in.ID, 10), ""); err != nil {
		return nil, s.fail(ctx, err)
	}
	if s.o.Enqueue == nil {
		return nil, nil
	}
	return nil, s.fail(ctx, s.o.Enqueue(ctx, jobs.Job{Kind: jobs.Deliver, Priority: jobs.ForPush}))
}
