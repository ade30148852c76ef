package runpodtest

import (
	"net"
	"net/http"
	"time"
)

// A Call is one of the worker protocol's calls.
type Call string

// The calls of the worker protocol.
const (
	TakeJobs Call = "take"
	StopJobs Call = "stop"
	Beat     Call = "ping"
	Progress Call = "progress"
	Stream   Call = "stream"
	Done     Call = "done"
)

// A Fault is something that goes wrong with one kind of call. The zero value of
// each field leaves that part of the call as it is.
type Fault struct {
	Call Call
	// Times is how many calls it hits, 1 by default. With For it hits all of them
	// for so long instead.
	Times int
	For   time.Duration
	// Hang is how long the call waits before anything else happens to it.
	Hang time.Duration
	// Act lets the call take effect before its answer is replaced: a job is handed
	// out, a result is accepted, and nobody hears of it.
	Act bool
	// Late is how long the answer is on its way after the call took effect.
	Late time.Duration
	// Status, Header and Body are the answer.
	Status int
	Header http.Header
	Body   string
	// Cut cuts the connection in place of an answer. With Act, half of the answer
	// is sent first.
	Cut bool
}

// scripted is a fault and how much of it is left.
type scripted struct {
	Fault
	left  int
	until time.Time // zero if it is counted
	hits  int       // calls so far
}

// Inject makes the next calls of a kind go wrong. Faults of one kind take effect
// in the order of their injection. Acted tells how many calls this one has hit.
func (q *Queue) Inject(f Fault) (acted func() int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := &scripted{Fault: f, left: max(1, f.Times)}
	if f.For > 0 {
		s.until = time.Now().Add(f.For)
	}
	q.faults = append(q.faults, s)
	return func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return s.hits
	}
}

// Heal takes back all faults that have not taken effect.
func (q *Queue) Heal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults = nil
	q.wake()
}

// fault returns what is to go wrong with this call, nil if nothing is.
func (q *Queue) fault(call Call) *Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.faults {
		if s.Call != call {
			continue
		}
		switch {
		case !s.until.IsZero() && time.Now().Before(s.until):
		case s.until.IsZero() && s.left > 0:
			s.left--
		default:
			continue
		}
		q.effects[call]++
		s.hits++
		return &s.Fault
	}
	return nil
}

// cut ends a connection without an answer: with a reset where there is a real
// socket.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a close is a cut as well
	}
	_ = conn.Close()
}
