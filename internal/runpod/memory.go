package runpod

import (
	"container/list"
	"time"
)

// A memory keeps the results of jobs that ended, the last ones within its
// limits. Its zero value is not usable, and the registry's lock guards it.
type memory struct {
	jobs  int
	age   time.Duration
	total int64

	order list.List // of *remembered, the oldest first
	byID  map[string]*list.Element
	size  int64
}

type remembered struct {
	id   string
	body []byte
	at   time.Time
}

func newMemory(cfg Config) *memory {
	return &memory{jobs: cfg.KeepJobs, age: cfg.KeepFor, total: cfg.KeepTotal, byID: make(map[string]*list.Element)}
}

// put remembers the result of a job in place of an earlier one. A nil body
// forgets the job.
func (m *memory) put(id string, body []byte, now time.Time) {
	if old := m.byID[id]; old != nil {
		m.drop(old)
	}
	if body != nil {
		m.byID[id] = m.order.PushBack(&remembered{id: id, body: body, at: now})
		m.size += int64(len(body))
	}
	m.trim(now)
}

// find returns the result of a job, nil if it is not remembered.
func (m *memory) find(id string, now time.Time) []byte {
	m.trim(now)
	if e := m.byID[id]; e != nil {
		return e.Value.(*remembered).body
	}
	return nil
}

func (m *memory) trim(now time.Time) {
	for e := m.order.Front(); e != nil; e = m.order.Front() {
		if m.order.Len() <= m.jobs && m.size <= m.total && now.Sub(e.Value.(*remembered).at) < m.age {
			return
		}
		m.drop(e)
	}
}

func (m *memory) drop(e *list.Element) {
	r := m.order.Remove(e).(*remembered)
	delete(m.byID, r.id)
	m.size -= int64(len(r.body))
}
