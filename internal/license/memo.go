package license

import "sync"

// maxKnown bounds the memory of what was made before.
const maxKnown = 4096

// A memo remembers what was made of each key. The zero memo is ready; it is safe
// for concurrent use, and one that is full begins anew.
type memo[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V
}

// get computes the value of a key, unless it is known. What two ask for at the same
// time may be computed twice.
func (m *memo[K, V]) get(key K, compute func() V) V {
	m.mu.Lock()
	v, ok := m.known[key]
	m.mu.Unlock()
	if ok {
		return v
	}
	v = compute()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxKnown {
		m.known = map[K]V{}
	}
	m.known[key] = v
	return v
}
