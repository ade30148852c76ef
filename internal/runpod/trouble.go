package runpod

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// A trouble follows whether one of the queue's calls works, and logs when that
// changes, so that an hour of outage is two lines.
type trouble struct {
	log  *zap.Logger
	call string

	mu    sync.Mutex
	err   error // the last one, nil while the call works
	since time.Time
	count int // failures in a row
}

func newTrouble(log *zap.Logger, call string) *trouble { return &trouble{log: log, call: call} }

// note takes down how the call went.
func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.err
	t.err = err
	switch {
	case err == nil && before != nil:
		t.log.Info("queue answers again", zap.String("call", t.call),
			zap.Duration("elapsed", time.Since(t.since)), zap.Int("failures", t.count))
		t.count = 0
	case err != nil && before == nil:
		t.since = time.Now()
		t.count = 1
		t.warn(err)
	case err != nil:
		t.count++
		if isDenied(err) != isDenied(before) {
			t.warn(err)
		}
	}
}

func (t *trouble) warn(err error) {
	if isDenied(err) {
		t.log.Error("queue refuses the API key, trying on", zap.String("call", t.call), zap.Error(err))
		return
	}
	t.log.Warn("queue does not answer as it should, trying on", zap.String("call", t.call), zap.Error(err))
}

// lasting returns the last error if the call went wrong n times in a row.
func (t *trouble) lasting(n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count < n {
		return nil
	}
	return t.err
}

func isDenied(err error) bool { return judge(statusOf(err)) == denied }
