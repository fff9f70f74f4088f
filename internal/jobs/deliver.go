package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"strata/internal/notify"
	"strata/internal/store"
)

// DeliverOptions of DeliverWork. DB and Sender are needed.
type DeliverOptions struct {
	DB     *store.DB
	Sender *notify.Sender
	// PublicURL is what messages link to; empty for no link.
	PublicURL string
	// Settle is how long a message waits for more of the same; 0 means 20 s.
	Settle time.Duration
	Log    *slog.Logger
}

// sendAttempts are made, over about two days, before a notification has failed.
const sendAttempts = 12

// DeliverWork routes violations to receivers, and sends what is due. A message is sent at
// least once: when this breaks off after a receiver has taken it, it is sent again, with
// the same delivery id.
func DeliverWork(o DeliverOptions) Work {
	if o.Settle <= 0 {
		o.Settle = 20 * time.Second
	}
	const every = 15 * time.Second
	return Work{Kind: Deliver, Every: every, Do: func(ctx context.Context, _ string) error {
		if _, err := o.DB.RouteViolations(ctx, o.Settle); err != nil {
			return err
		}
		return o.deliver(ctx)
	}}
}

// deliver sends one after the other; each is claimed only when its turn comes, so that
// it's not another's meanwhile.
func (o *DeliverOptions) deliver(ctx context.Context) error {
	const patience, claim = time.Minute, 5 * time.Minute
	for {
		due, err := o.DB.ClaimNotifications(ctx, 1, claim)
		if err != nil || len(due) == 0 {
			return err
		}
		n := &due[0]
		limited, cancel := context.WithTimeout(ctx, patience)
		failure := o.send(limited, n)
		cancel()
		if ctx.Err() != nil && failure != nil {
			return ctx.Err() // it was broken off here: the claim runs out
		}
		if err := o.record(ctx, n, failure); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func (o *DeliverOptions) send(ctx context.Context, n *store.Notification) error {
	m := &notify.Message{Delivery: n.Delivery, At: n.CreatedAt, Title: n.Subject, Link: o.PublicURL}
	if err := json.Unmarshal([]byte(n.Payload), &m.Groups); err != nil {
		return err
	}
	r, err := o.DB.Receiver(ctx, n.Receiver)
	if err != nil {
		return err
	}
	to, err := ReceiverOf(ctx, o.DB, r, n.Recipient)
	if err != nil {
		return err
	}
	return o.Sender.Send(ctx, to, m)
}

// ReceiverOf is a receiver with its secret; recipient is the mail address of an owner, or
// empty.
func ReceiverOf(ctx context.Context, db *store.DB, r *store.Receiver, recipient string) (*notify.Receiver, error) {
	secret, err := db.ReceiverSecret(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	s := &r.Settings
	out := &notify.Receiver{Kind: r.Kind, URL: s.URL, Secret: secret, Host: s.Host, Port: s.Port, TLS: s.TLS, Username: s.Username, From: s.From, To: s.To}
	if recipient != "" {
		out.To = []string{recipient}
	}
	return out, nil
}

func (o *DeliverOptions) record(ctx context.Context, n *store.Notification, failure error) error {
	if failure == nil {
		return o.DB.NotificationSent(ctx, n.ID, n.Fence)
	}
	wait := sendBackoff(n.Attempts)
	var refused *notify.Error
	if errors.As(failure, &refused) {
		wait = max(wait, refused.After)
	}
	next := time.Now().Add(wait)
	if n.Attempts >= sendAttempts {
		next = time.Time{}
	}
	if refused != nil && refused.Gone {
		if err := o.DB.PauseReceiver(ctx, n.Receiver); err != nil {
			return err
		}
	}
	if o.Log != nil {
		o.Log.WarnContext(ctx, "notification not taken", "receiver", n.ReceiverName, "delivery", n.Delivery, "attempt", n.Attempts, "error", failure)
	}
	return o.DB.NotificationFailed(ctx, n.ID, n.Fence, failure.Error(), next)
}

// sendBackoff waits half a minute after the first attempt, three times as long each time, at
// most six hours, a fifth more or less.
func sendBackoff(attempt int) time.Duration {
	const first, most = 30 * time.Second, 6 * time.Hour
	wait := first
	for range attempt - 1 {
		wait = min(3*wait, most)
	}
	return time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
}
