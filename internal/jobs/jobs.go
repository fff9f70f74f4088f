// Package jobs does the work of the server in the background: it scans images,
// crawls registries, takes advisories in, judges images by watches and delivers
// notifications. A job is a hint: what is to be done stands in the rows of the
// database, and each job is keyed by the row it works on, can be done twice, and
// is made anew by Reconcile when it was lost.
//
// It is the only user of River (riverqueue.com).
package jobs

import (
	"context"
	"time"
)

// A Kind is what a job does.
type Kind string

// The kinds, with what their key is.
const (
	// Scan scans what a manifest stands for: the id of a row of manifests.
	Scan Kind = "scan"
	// Crawl reads a registry's catalogue: the id of a row of registries.
	Crawl Kind = "crawl"
	// Sync brings the advisories up to date; no key.
	Sync Kind = "sync"
	// Match matches package versions that are due; no key.
	Match Kind = "match"
	// Judge holds images against the watches for which they are due; no key.
	Judge Kind = "judge"
	// Deliver sends the notifications that are due; no key.
	Deliver Kind = "deliver"
	// Reconcile makes jobs of what the rows say is due; no key.
	Reconcile Kind = "reconcile"
	// Retain deletes what is older than is to be kept; no key.
	Retain Kind = "retain"
)

// A Priority orders jobs: the lower, the sooner.
type Priority int

// The priorities.
const (
	ForCI       Priority = 1
	ForPush     Priority = 2
	ForNews     Priority = 3
	ForCrawling Priority = 4
)

// A Job is one piece of work. There is at most one that waits of a kind and key.
type Job struct {
	Kind     Kind
	Key      string
	Priority Priority
}

// A Work does the jobs of one kind.
type Work struct {
	Kind Kind
	// Do does one job. It must be safe to do twice, and to be broken off.
	Do func(ctx context.Context, key string) error
	// Timeout of one job; 0 means ten minutes.
	Timeout time.Duration
	// MaxAttempts before a job is parked with the reason; 0 means 5.
	MaxAttempts int
	// Every makes a job of this kind, without key, on this schedule, once for the
	// cluster; 0 for none. The first is made at once.
	Every time.Duration
	// Together is for a Do that makes sure itself that a key is worked on once at a
	// time. Otherwise the queue does, for the whole cluster.
	Together bool
}
