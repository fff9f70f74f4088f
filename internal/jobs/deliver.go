package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
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
	// Instance is the id of this one, as the queue has it: what it was sending is sent by
	// others when it is heard of no more.
	Instance string
	// Patience is how long a receiver may take for a message; 0 means 30 s.
	Patience time.Duration
	Log      *slog.Logger
}

// sendAttempts are made, over about two days, before a notification has failed.
const sendAttempts = 12

// deliverEvery is how often it is looked for what is due, and how long what is found so is
// worked on, before it is looked for new violations again.
const deliverEvery = 15 * time.Second

// DeliverWork routes violations to receivers, and sends what is due. A message is sent at
// least once: when this breaks off after a receiver has taken it, it is sent again, with
// the same delivery id.
func DeliverWork(o DeliverOptions) Work {
	if o.Settle <= 0 {
		o.Settle = 20 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return Work{Kind: Deliver, Every: deliverEvery, Do: func(ctx context.Context, _ string) error {
		if _, err := o.DB.RouteViolations(ctx, o.Settle); err != nil {
			return err
		}
		return o.deliver(ctx)
	}}
}

// deliver sends to several receivers at once, so that one that is slow doesn't hold up the
// others.
func (o *DeliverOptions) deliver(ctx context.Context) error {
	const atOnce = 8
	until := o.DB.Now().Add(deliverEvery)
	var turn sync.Mutex // who has it claims: those who claim at the same time want the same, and one gets it
	claim := func() ([]store.Notification, error) {
		const ttl = 5 * time.Minute
		turn.Lock()
		defer turn.Unlock()
		return o.DB.ClaimNotifications(ctx, o.Instance, 1, ttl)
	}
	var all sync.WaitGroup
	var errs [atOnce]error
	for i := range errs {
		all.Go(func() { errs[i] = o.deliverUntil(ctx, until, claim) })
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// deliverUntil sends one after the other; each is claimed only when its turn comes, so that
// it's not another's meanwhile.
func (o *DeliverOptions) deliverUntil(ctx context.Context, until time.Time, claim func() ([]store.Notification, error)) error {
	for o.DB.Now().Before(until) {
		due, err := claim()
		if err != nil || len(due) == 0 {
			return err
		}
		n := &due[0]
		failure := o.send(ctx, n)
		if err := o.recordAnyway(ctx, n, failure); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (o *DeliverOptions) send(ctx context.Context, n *store.Notification) (err error) {
	defer func() { // a message that is too much for a library ends as a failure, not the server
		if p := recover(); p != nil {
			err = &notify.Error{Permanent: true, Reason: fmt.Sprint("broken: ", p)}
		}
	}()
	m := &notify.Message{Delivery: n.Delivery, At: n.CreatedAt, Title: n.Subject, Link: o.PublicURL}
	if err := json.Unmarshal([]byte(n.Payload), &m.Groups); err != nil {
		return err
	}
	if m.Link != "" && len(m.Groups) == 1 && m.Groups[0].Vulnerability != "" {
		m.Link = strings.TrimSuffix(m.Link, "/") + "/vulnerabilities/" + url.PathEscape(m.Groups[0].Vulnerability)
	}
	r, err := o.DB.Receiver(ctx, n.Receiver)
	if err != nil {
		return err
	}
	to, err := ReceiverOf(ctx, o.DB, r, n.Recipient)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	return o.Sender.Send(limited, to, m)
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

// recordAnyway records an attempt also when the work is broken off meanwhile, so that what
// was taken is not sent twice, and the rest need not wait until the claim runs out.
func (o *DeliverOptions) recordAnyway(ctx context.Context, n *store.Notification, failure error) error {
	const patience = 5 * time.Second
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var err error
	if failure != nil && ctx.Err() != nil {
		err = o.DB.NotificationFailed(limited, n.ID, n.Fence, "broken off", o.DB.Now())
	} else {
		err = o.record(limited, n, failure)
	}
	if errors.Is(err, store.ErrConflict) { // it's another's by now
		return nil
	}
	return err
}

func (o *DeliverOptions) record(ctx context.Context, n *store.Notification, failure error) error {
	if failure == nil {
		return o.DB.NotificationSent(ctx, n.ID, n.Fence)
	}
	o.Log.WarnContext(ctx, "notification not taken", "receiver", n.ReceiverName, "delivery", n.Delivery, "attempt", n.Attempts, "error", failure)
	next := o.DB.Now().Add(sendBackoff(n.Attempts))
	refused, answered := errors.AsType[*notify.Error](failure)
	switch {
	case answered && refused.Gone: // what is for it waits, this too
		if err := o.DB.PauseReceiver(ctx, n.Receiver); err != nil {
			return err
		}
		return o.DB.NotificationFailed(ctx, n.ID, n.Fence, failure.Error(), o.DB.Now())
	case n.Attempts >= sendAttempts || answered && refused.Permanent:
		return o.DB.NotificationFailed(ctx, n.ID, n.Fence, failure.Error(), time.Time{})
	case answered && refused.After > 0:
		if asked := o.DB.Now().Add(refused.After); asked.After(next) {
			next = asked
		}
	}
	if err := o.DB.NotificationFailed(ctx, n.ID, n.Fence, failure.Error(), next); err != nil || !unreached(failure) {
		return err
	}
	// Not as long as this one: it may be to blame itself.
	const most = 5 * time.Minute
	return o.DB.RestReceiver(ctx, n.Receiver, o.DB.Now().Add(min(most, next.Sub(o.DB.Now()))))
}

// unreached tells of a failure that others of the same receiver would have, too: it didn't
// answer, or said that it is busy.
func unreached(failure error) bool {
	refused, answered := errors.AsType[*notify.Error](failure)
	busy := []int{421, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	return !answered || refused.After > 0 || slices.Contains(busy, refused.Status)
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
