package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A soakLoss is a span of time in which attempts at jobs may have been lost.
type soakLoss struct {
	from, to time.Time
	attempts int
	job      string   // that brought it, "" for none
	replaced bool     // the pod was replaced by another
	causes   []string // that jobs may have failed by
}

// A soakPending is a fault that waits in ComfyUI for its occasion.
type soakPending struct {
	fault *soakFault
	since time.Time
	pid   int
}

// refusalApart is the least time between two faults of a submission. A client
// that is refused twice for the same prompt may give it up.
const refusalApart = 2 * time.Second

// inject makes a fault happen while job j is at hand.
func (s *soak) inject(f *soakFault, j *soakJob) {
	s.t.Helper()
	s.settle()
	now := time.Now()
	took := false
	if f.next != nil {
		s.play(f.next)
	}
	if f.signal != 0 {
		took = s.strike(f)
	}
	if f.comfy != nil {
		took = s.afflict(f, now)
	}
	for _, fault := range f.queue {
		if fault.Times == 0 {
			fault.For = f.lasts
		}
		s.q.Inject(fault)
		took = true // the ledger of the queue tells how often
	}
	if f.toxic != "" {
		took = s.spoil(f)
	}
	if f.queueToxic != "" {
		s.spoilQueue(f)
		took = true
	}
	if f.strain != nil {
		took = f.strain(s, f.lasts)
	}
	if f.ends != 0 {
		s.replace(f.ends)
		took = true
	}
	if f.redeliver != "" {
		took = s.redeliver(f.redeliver, j)
	}
	if f.losses > 0 || f.causes != nil {
		s.losses = append(s.losses, soakLoss{now, time.Now().Add(f.span), f.losses, "", f.ends != 0, f.causes})
	}
	s.counts.injected(f.name, took)
}

// strike sends a signal to ComfyUI. A frozen one is let go on after a while.
func (s *soak) strike(f *soakFault) bool {
	pid, incarnation := s.comfyHostPID(), s.state().Instances[0].Incarnation
	sent := time.Now()
	if pid == 0 || syscall.Kill(pid, f.signal) != nil {
		return false
	}
	if f.signal == syscall.SIGSTOP {
		<-time.After(f.lasts)
		return syscall.Kill(pid, syscall.SIGCONT) == nil
	}
	s.counts.kills = append(s.counts.kills, soakEvent{sent, incarnation})
	return true
}

// afflict gives a fault to the running ComfyUI. What is to happen to its next
// answer is counted when that has come.
func (s *soak) afflict(f *soakFault, now time.Time) bool {
	rule := *f.comfy
	rule.Delay = f.lasts
	if rule.On == "POST /prompt" {
		if now.Sub(s.refused) < refusalApart {
			return false
		}
		s.refused = now
	}
	raw, err := json.Marshal(comfytest.Faults{rule})
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.ask(http.MethodPost, "/sim/faults", string(raw), nil) {
		return false
	}
	if rule.On != "process" {
		s.pending = &soakPending{f, now, s.state().Instances[0].PID}
		return false
	}
	return true
}

// settle finds out whether the fault that was given to ComfyUI last has had its
// occasion.
func (s *soak) settle() {
	p := s.pending
	s.pending = nil
	var ledger comfytest.Ledger
	if p == nil || s.state().Instances[0].PID != p.pid || !s.ask(http.MethodGet, "/sim/ledger", "", &ledger) {
		return
	}
	s.unrushed(ledger)
	for _, r := range ledger.Requests {
		on := strings.TrimSuffix(p.fault.comfy.On, "*")
		if r.Time.After(p.since) && strings.HasPrefix(r.Method+" "+r.Path, on) {
			s.counts.tookEffect(p.fault.name)
			return
		}
	}
	for _, e := range ledger.Executions {
		if e.Started.After(p.since) && p.fault.comfy.On == "prompt" {
			s.counts.tookEffect(p.fault.name)
			return
		}
	}
}

// heal takes back all faults that wait for their occasion.
func (s *soak) heal() {
	s.settle()
	s.play(nil)
	s.q.Heal()
	s.ask(http.MethodPost, "/sim/faults", "[]", nil)
}

// redeliver hands out a job a second time: j, or the last that is done.
func (s *soak) redeliver(which string, j *soakJob) bool {
	s.mu.Lock()
	id := s.done
	s.mu.Unlock()
	if which == "running" {
		id = j.id
		if j.kind != "picture" { // which would do its damage twice, if it is over by now
			return false
		}
	}
	if id == "" {
		return false
	}
	s.twice[id]++
	s.q.Redeliver(id)
	return true
}

// noteDeaths takes down when a job may have ended its ComfyUI by itself.
func (s *soak) noteDeaths(j *soakJob, seen runpodtest.Job) {
	if j.deaths > 0 && len(seen.Handouts) > 0 && seen.Outcome != nil {
		s.losses = append(s.losses, soakLoss{seen.Handouts[0].At, lastWord(seen).Add(2 * time.Second), j.deaths, j.id, false, nil})
	}
}

// lossesOf counts the attempts that a job may have lost through others. It tells
// whether its pod may have been replaced, and what else it may have failed by.
func (s *soak) lossesOf(j *soakJob, seen runpodtest.Job) (n int, replaced bool, causes []string) {
	if len(seen.Handouts) == 0 || seen.Outcome == nil {
		return 0, false, nil
	}
	last := lastWord(seen)
	for _, l := range s.losses {
		after := l.from.After(last) && !last.IsZero()
		if l.job != j.id && !l.to.Before(seen.Handouts[0].At) && !after {
			n += l.attempts
			replaced = replaced || l.replaced
			causes = append(causes, l.causes...)
		}
	}
	return n, replaced, causes
}

// lastWord is when the worker was done with a job: its first answer that was
// not refused. The end of a canceled job has no time of its own.
func lastWord(seen runpodtest.Job) time.Time {
	if seen.Outcome.Status == runpodtest.Cancelled && len(seen.Posts) > 0 {
		return seen.Posts[0].At
	}
	return seen.Outcome.At
}
