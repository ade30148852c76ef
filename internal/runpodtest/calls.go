package runpodtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// take hands out jobs, or waits for one.
func (q *Queue) take(r request) reply {
	end := time.Now().Add(q.cfg.Hold)
	q.mu.Lock()
	if q.gone[r.worker] { // now, and not while an earlier call whose line has died is held
		q.violation("worker %s: takes after it asked to be stopped", r.worker)
	}
	q.mu.Unlock()
	for {
		q.mu.Lock()
		q.expire()
		next := q.nextLease()
		a, changed := q.tryTake(r, !time.Now().Before(end)), q.changed
		if a.status != 0 {
			q.takes = append(q.takes, Take{At: time.Now(), Worker: r.worker, Status: a.status})
			q.wake()
		}
		q.mu.Unlock()
		if a.status != 0 {
			return a
		}
		until := time.Until(end)
		if !next.IsZero() {
			until = min(until, time.Until(next))
		}
		t := time.NewTimer(until)
		select {
		case <-changed:
		case <-t.C:
		case <-r.Context().Done():
			t.Stop()
			return reply{}
		}
		t.Stop()
	}
}

// tryTake answers a take if it can be answered: with a job, or with none if this
// is the end of its wait.
func (q *Queue) tryTake(r request, last bool) reply {
	if r.Context().Err() != nil {
		return reply{}
	}
	if q.cfg.Waverless && !q.pinged[r.worker] {
		return reply{status: http.StatusInternalServerError, body: []byte(`{"error":"worker not found"}`)}
	}
	if len(q.waiting) == 0 {
		if last {
			return reply{status: http.StatusNoContent}
		}
		return reply{}
	}
	n := 1
	if size, err := strconv.Atoi(r.URL.Query().Get("batch_size")); r.batch && err == nil {
		n = min(size, len(q.waiting))
	}
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return q.handOut(r, batch)
}

func (q *Queue) handOut(r request, batch []entry) reply {
	a := reply{status: http.StatusOK}
	var texts [][]byte
	for _, e := range batch {
		texts = append(texts, e.text)
		j := q.jobs[e.id]
		if j == nil {
			continue
		}
		j.Handouts = append(j.Handouts, Handout{At: time.Now(), Worker: r.worker, Batch: r.batch})
		if q.cfg.Lease > 0 {
			j.lease = time.Now().Add(q.cfg.Lease)
		}
		a.handed = append(a.handed, handed{j, len(j.Handouts) - 1})
	}
	a.body = texts[0]
	if r.batch {
		a.body = slices.Concat([]byte("["), bytes.Join(texts, []byte(",")), []byte("]"))
	}
	return a
}

// expire puts jobs back whose worker no longer names them.
func (q *Queue) expire() {
	for _, j := range q.order {
		if j.Outcome == nil && !j.lease.IsZero() && !time.Now().Before(j.lease) {
			j.lease = time.Time{}
			q.waiting = append(q.waiting, j.entry)
		}
	}
}

// nextLease is when the next job may have to be put back, zero if none has to.
func (q *Queue) nextLease() (next time.Time) {
	for _, j := range q.order {
		if j.Outcome == nil && !j.lease.IsZero() && (next.IsZero() || j.lease.Before(next)) {
			next = j.lease
		}
	}
	return next
}

// ping takes down a heartbeat and extends the leases of the jobs that it names.
func (q *Queue) ping(r request) reply {
	q.mu.Lock()
	defer q.mu.Unlock()
	query := r.URL.Query()
	p := Ping{At: time.Now(), Worker: r.worker, Version: query.Get("runpod_version")}
	if query.Get("status") == "unhealthy" {
		p.Unhealthy, p.Reason = query.Get("check"), query.Get("reason")
	}
	if ids := query.Get("job_id"); ids != "" {
		p.Jobs = strings.Split(ids, ",")
	}
	for _, id := range p.Jobs {
		if j := q.jobs[id]; j != nil && !j.lease.IsZero() {
			j.lease = time.Now().Add(q.cfg.Lease)
		}
	}
	q.pinged[r.worker] = true
	q.pings = append(q.pings, p)
	q.wake()
	return reply{status: http.StatusOK, body: []byte(`{"status":"ok"}`)}
}

// stop names the jobs of a worker that are wanted no more, or waits for one.
func (q *Queue) stop(r request) reply {
	end := time.Now().Add(q.cfg.HoldStop)
	for {
		q.mu.Lock()
		ids, changed := q.takeStops(r.worker), q.changed
		q.mu.Unlock()
		if len(ids) > 0 {
			body, err := json.Marshal(map[string][]string{"jobsToStop": ids})
			if err != nil {
				panic(err)
			}
			return reply{status: http.StatusOK, body: body}
		}
		t := time.NewTimer(time.Until(end))
		select {
		case <-changed:
			t.Stop()
		case <-t.C:
			return reply{status: http.StatusNoContent}
		case <-r.Context().Done():
			t.Stop()
			return reply{}
		}
	}
}

func (q *Queue) takeStops(worker string) (ids []string) {
	for _, j := range q.order {
		if n := len(j.Handouts); j.stopping && n > 0 && j.Handouts[n-1].Worker == worker {
			j.stopping, j.stopTold = false, time.Now()
			ids = append(ids, j.ID)
		}
	}
	return ids
}
