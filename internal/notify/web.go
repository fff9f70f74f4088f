package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// post sends a body. Answers of 2xx are success; the error never has the URL, which is
// a secret of chats.
func (s *Sender) post(ctx context.Context, to, contentType string, body any, header func(http.Header, []byte) error) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return &Error{Gone: true, Reason: "the URL is not one"}
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "strata")
	if header != nil {
		if err := header(r.Header, text); err != nil {
			return err
		}
	}
	answer, err := s.Client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("request to %s: %w", r.URL.Host, err)
	}
	defer answer.Body.Close()
	const most = 300
	said, _ := io.ReadAll(io.LimitReader(answer.Body, most))
	switch answer.StatusCode / 100 {
	case 2:
		return nil
	case 3:
		said = []byte("redirects are not followed; give the receiver the address that it is at")
	}
	return &Error{
		Status: answer.StatusCode, Gone: answer.StatusCode == http.StatusGone, After: s.retryAfter(answer.Header.Get("Retry-After")),
		Reason: strings.TrimSpace(fmt.Sprintf("%s answered %s: %s", r.URL.Host, answer.Status, plain(string(said)))),
	}
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3), at most a day.
func (s *Sender) retryAfter(text string) time.Duration {
	const most = 24 * time.Hour
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, int(most/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(s.now())), most)
	}
	return 0
}

// eventType is that of events of violations, and of tests.
func (m *Message) eventType() string {
	if m.Test {
		return "strata.test"
	}
	return "strata.violations.found"
}

// maxEvent bounds the messages to programs, in bytes, and maxText the texts in them, in
// units of UTF-16.
const (
	maxEvent = 256 << 10
	maxText  = 500
)

// bounded is a message to programs: names are as they are, but no longer than maxText, and
// groups that would make it longer than maxEvent are counted.
func bounded(m *Message) (*Message, error) {
	out := *m
	out.Title, out.Groups = shorten(m.Title, maxText), []Group{}
	size := 0
	for i, g := range m.Groups {
		for _, text := range []*string{&g.Vulnerability, &g.Policy, &g.Rule, &g.Owner, &g.Message} {
			*text = shorten(*text, maxText)
		}
		for _, list := range []*[]string{&g.Images, &g.Packages, &g.Watches} {
			*list = slices.Clone(*list)
			for i, text := range *list {
				(*list)[i] = shorten(text, maxText)
			}
		}
		text, err := json.Marshal(g)
		if err != nil {
			return nil, err
		}
		if size += len(text) + 1; size > maxEvent {
			out.More += len(m.Groups) - i
			break
		}
		out.Groups = append(out.Groups, g)
	}
	return &out, nil
}

// sendWebhook follows Standard Webhooks (standardwebhooks.com): the signature is HMAC of
// SHA-256 of id, time and body.
func (s *Sender) sendWebhook(ctx context.Context, r *Receiver, m *Message) error {
	data, err := bounded(m)
	if err != nil {
		return err
	}
	body := map[string]any{"type": m.eventType(), "timestamp": m.At.UTC().Format(time.RFC3339), "data": data}
	return s.post(ctx, r.URL, "application/json", body, func(h http.Header, text []byte) error {
		stamp := strconv.FormatInt(s.now().Unix(), 10)
		h.Set("webhook-id", m.Delivery)
		h.Set("webhook-timestamp", stamp)
		if r.Secret == "" {
			return nil
		}
		key, err := webhookKey(r.Secret)
		if err != nil {
			return err
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(m.Delivery + "." + stamp + "."))
		mac.Write(text)
		h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	})
}

// webhookKey is the key of a secret: whsec_ and base64, or else its bytes.
func webhookKey(secret string) ([]byte, error) {
	text, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, &Error{Gone: true, Reason: "the secret is not whsec_ and base64"}
	}
	return key, nil
}

// sendCloudEvent sends a CloudEvent 1.0 in the structured mode of its HTTP binding. A
// secret is sent as a bearer token.
func (s *Sender) sendCloudEvent(ctx context.Context, r *Receiver, m *Message) error {
	source := m.Link
	if source == "" {
		source = "urn:strata"
	}
	data, err := bounded(m)
	if err != nil {
		return err
	}
	body := map[string]any{
		"specversion": "1.0", "id": m.Delivery, "source": source, "type": m.eventType(), "time": m.At.UTC().Format(time.RFC3339Nano),
		"datacontenttype": "application/json", "data": data,
	}
	return s.post(ctx, r.URL, "application/cloudevents+json; charset=UTF-8", body, func(h http.Header, _ []byte) error {
		if r.Secret != "" {
			h.Set("Authorization", "Bearer "+r.Secret)
		}
		return nil
	})
}

// slackBody is for Slack's incoming webhooks: names are in plain_text, in which nothing
// is markup; in the text of the notification its three characters are escaped. A header
// may have 150 units of UTF-16, a section 3000.
func slackBody(m *Message) any {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	block := func(kind, s string, most int) any {
		return map[string]any{"type": kind, "text": map[string]any{"type": "plain_text", "text": shorten(s, most), "emoji": false}}
	}
	blocks := []any{block("header", plain(m.Title), 140)}
	groups, more := show(m, maxChat)
	for _, g := range groups {
		blocks = append(blocks, block("section", g.Head+"\n"+g.Text+"\n"+g.Images, 2900))
	}
	if more > 0 {
		blocks = append(blocks, block("section", moreText(more), 2900))
	}
	if m.Link != "" {
		blocks = append(blocks, map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": "<" + escape.Replace(m.Link) + "|Open Strata>"}})
	}
	return map[string]any{"text": escape.Replace(plain(m.Title)), "blocks": blocks}
}

// teamsBody is an adaptive card for the webhooks of Teams' workflows: names are in
// TextRun, in which nothing is markup.
func teamsBody(m *Message) any {
	run := func(s string, bold bool) any {
		r := map[string]any{"type": "TextRun", "text": s}
		if bold {
			r["weight"] = "bolder"
		}
		return map[string]any{"type": "RichTextBlock", "inlines": []any{r}}
	}
	body := []any{run(plain(m.Title), true)}
	groups, more := show(m, maxChat)
	for _, g := range groups {
		body = append(body, run(g.Head, true), run(g.Text, false), run(g.Images, false))
	}
	if more > 0 {
		body = append(body, run(moreText(more), false))
	}
	card := map[string]any{"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4", "body": body}
	if m.Link != "" {
		card["actions"] = []any{map[string]any{"type": "Action.OpenUrl", "title": "Open Strata", "url": m.Link}}
	}
	return map[string]any{"type": "message", "attachments": []any{map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}}}
}
