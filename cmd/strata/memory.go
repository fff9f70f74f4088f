package main

import "runtime/debug"

// collectAt lets the heap grow to this many percent of what is live before it is
// collected. A scan's heap is small and short-lived, so memory is cheaper than
// time; the limit takes over before it is not.
const collectAt = 400

// tuneMemory makes the process keep within limit bytes: what the collector does
// not see (stacks, SQLite, the runtime's own) gets a quarter.
func tuneMemory(limit byteSize) {
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(int64(limit) / 4 * 3)
}
