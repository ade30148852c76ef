package runpod

import (
	"container/list"
	"io"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// A memory keeps the results of jobs that ended, the last ones within its
// limits. Its zero value is not usable.
type memory struct {
	jobs    int
	age     time.Duration
	largest int64

	mu    sync.Mutex
	ring  ring
	order list.List // of *remembered, the oldest first, as they stand in the ring
	byID  map[string]*list.Element
}

type remembered struct {
	id      string
	from, n int64 // in the ring
	at      time.Time
}

func newMemory(cfg Config) *memory {
	return &memory{
		jobs: cfg.KeepJobs, age: cfg.KeepFor, largest: cfg.KeepResult,
		ring: ring{dir: cfg.SpoolDir, size: cfg.KeepTotal}, byID: make(map[string]*list.Element),
	}
}

// put remembers the result of a job in place of an earlier one, unless it is too
// large or cannot be read: then the job would run again. The result is read before
// anything is locked: its files may lie on a volume that stalls.
func (m *memory) put(id string, body *payload.Body, now time.Time) {
	text := m.read(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.byID[id])
	if text == nil {
		return
	}
	m.ring.open()
	size := int64(len(text))
	if size > m.ring.size {
		return
	}
	for e := m.order.Front(); e != nil && m.ring.head+size-e.Value.(*remembered).from > m.ring.size; e = m.order.Front() {
		m.drop(e) // it would be written over
	}
	from := m.ring.head
	if m.ring.write(text) != nil {
		return
	}
	m.byID[id] = m.order.PushBack(&remembered{id: id, from: from, n: size, at: now})
	m.trim(now)
}

// read returns what a body holds, nil if that is too much or cannot be read.
func (m *memory) read(body *payload.Body) []byte {
	if body.Size() > m.largest {
		return nil
	}
	r := body.Reader()
	defer r.Close()
	text := make([]byte, body.Size())
	if _, err := io.ReadFull(r, text); err != nil {
		return nil
	}
	return text
}

// forget forgets the result of a job.
func (m *memory) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.byID[id])
}

// find returns the result of a job, nil if it is not remembered.
func (m *memory) find(id string, now time.Time) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trim(now)
	e := m.byID[id]
	if e == nil {
		return nil
	}
	r := e.Value.(*remembered)
	return m.ring.read(r.from, r.n)
}

func (m *memory) trim(now time.Time) {
	for e := m.order.Front(); e != nil; e = m.order.Front() {
		if m.order.Len() <= m.jobs && now.Sub(e.Value.(*remembered).at) < m.age {
			return
		}
		m.drop(e)
	}
}

func (m *memory) drop(e *list.Element) {
	if e != nil {
		delete(m.byID, m.order.Remove(e).(*remembered).id)
	}
}
