package web

import (
	"sync"
	"time"
)

// share is how much of the time may be spent on making what is dear: it is kept so many
// times as long as it took, though not for longer than keepAtMost.
const (
	share      = 20
	keepAtMost = time.Minute
)

// A dear value takes long to make: who asks for it while it is made waits for it, and it is
// kept for a time that goes by how long it took. What is made at once is as good as not kept.
type dear[T any] struct {
	mu   sync.Mutex
	held map[string]*keptValue[T]
}

type keptValue[T any] struct {
	mu    sync.Mutex
	value T
	until time.Time
}

// get gives the value of a key, made by ask where it is not kept. What could not be made is
// not kept.
func (d *dear[T]) get(key string, now func() time.Time, ask func() (T, error)) (T, error) {
	v := d.of(key, now())
	v.mu.Lock()
	defer v.mu.Unlock()
	began := now()
	if began.Before(v.until) {
		return v.value, nil
	}
	made, err := ask()
	if err == nil {
		ended := now()
		v.value, v.until = made, ended.Add(min(share*ended.Sub(began), keepAtMost))
	}
	return made, err
}

// of is what is kept, or will be, of a key. What is too old is forgotten.
func (d *dear[T]) of(key string, now time.Time) *keptValue[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, v := range d.held {
		if k == key || !v.mu.TryLock() { // it is being made
			continue
		}
		if !now.Before(v.until) {
			delete(d.held, k)
		}
		v.mu.Unlock()
	}
	if d.held == nil {
		d.held = map[string]*keptValue[T]{}
	}
	if d.held[key] == nil {
		d.held[key] = &keptValue[T]{}
	}
	return d.held[key]
}
