// Package notify tells receivers of violations: it makes messages of them, and
// sends them as signed webhooks, mails, to chats, or as CloudEvents. What is to be
// told to whom, and that each is told once, is kept in package store; nothing here
// remembers anything.
package notify

import (
	_ "github.com/wneessen/go-mail" // used by the mail receiver
)
