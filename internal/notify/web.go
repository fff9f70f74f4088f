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
		return &Error{Reason: "the URL is not one"}
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
	if answer.StatusCode/100 == 2 {
		return nil
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

// sendWebhook follows Standard Webhooks (standardwebhooks.com): the signature is HMAC of
// SHA-256 of id, time and body.
func (s *Sender) sendWebhook(ctx context.Context, r *Receiver, m *Message) error {
	body := map[string]any{"type": m.eventType(), "timestamp": m.At.UTC().Format(time.RFC3339), "data": m}
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
		return nil, &Error{Reason: "the secret is not whsec_ and base64"}
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
	body := map[string]any{
		"specversion": "1.0", "id": m.Delivery, "source": source, "type": m.eventType(), "time": m.At.UTC().Format(time.RFC3339Nano),
		"datacontenttype": "application/json", "data": m,
	}
	return s.post(ctx, r.URL, "application/cloudevents+json; charset=UTF-8", body, func(h http.Header, _ []byte) error {
		if r.Secret != "" {
			h.Set("Authorization", "Bearer "+r.Secret)
		}
		return nil
	})
}

// slackBody is for Slack's incoming webhooks: names are in plain_text, in which nothing
// is markup; in the text of the notification its three characters are escaped.
func slackBody(m *Message) any {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	text := func(s string) map[string]any {
		return map[string]any{"type": "plain_text", "text": shorten(s, 2900), "emoji": false}
	}
	blocks := []any{map[string]any{"type": "header", "text": map[string]any{"type": "plain_text", "text": shorten(plain(m.Title), 140), "emoji": false}}}
	groups, more := show(m)
	for _, g := range groups {
		blocks = append(blocks, map[string]any{"type": "section", "text": text(g.Head + "\n" + g.Text + "\n" + g.Images)})
	}
	if more > 0 {
		blocks = append(blocks, map[string]any{"type": "section", "text": text(moreText(more))})
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
	groups, more := show(m)
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

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
