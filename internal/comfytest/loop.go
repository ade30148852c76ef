package comfytest

import "sync"

// An eventLoop stands for the one thread that answers all requests and sends
// all messages. While it is blocked, everything waits.
type eventLoop struct {
	mu      sync.Mutex
	blocked int
	free    chan struct{}
}

// block stops the loop until release is called.
func (l *eventLoop) block() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked == 0 {
		l.free = make(chan struct{})
	}
	l.blocked++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.blocked--
		if l.blocked == 0 {
			close(l.free)
		}
	})
}

// wait returns when the loop is free, or false when one of those who wait is
// gone first.
func (l *eventLoop) wait(gone, ended <-chan struct{}) bool {
	for {
		l.mu.Lock()
		blocked, free := l.blocked > 0, l.free
		l.mu.Unlock()
		if !blocked {
			return true
		}
		select {
		case <-free:
		case <-gone:
			return false
		case <-ended:
			return false
		}
	}
}
