package jobs

import (
	"context"
	"sync"
)

// alone gives each name to one at a time.
type alone struct {
	mu   sync.Mutex
	keys map[string]bool
}

// take gives the context to work in while the name is one's own, and what gives it
// back; a nil context when another has it.
func (a *alone) take(ctx context.Context, name string) (held context.Context, release func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys[name] {
		return nil, nil, nil
	}
	a.keys[name] = true
	return ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.keys, name)
	}, nil
}
