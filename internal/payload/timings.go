package payload

import (
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Timings tell where a job's time went, in milliseconds. Deliver is the storing
// of files; the sending of the result comes after its text.
type Timings struct {
	Prepare int64            `json:"prepare"`
	Queue   int64            `json:"queue"`
	Execute int64            `json:"execute"`
	Deliver int64            `json:"deliver"`
	Nodes   map[string]int64 `json:"nodes,omitempty"` // by node id
}

// TimingsOf returns how t is written, nil if nothing was measured.
func TimingsOf(t job.Timings) *Timings {
	if t.Prepare == 0 && t.Queue == 0 && t.Execute == 0 && t.Deliver == 0 {
		return nil
	}
	written := &Timings{
		Prepare: t.Prepare.Milliseconds(), Queue: t.Queue.Milliseconds(),
		Execute: t.Execute.Milliseconds(), Deliver: t.Deliver.Milliseconds(),
		Nodes: make(map[string]int64, len(t.Nodes)),
	}
	for node, took := range t.Nodes {
		written.Nodes[node] = took.Round(time.Millisecond).Milliseconds()
	}
	return written
}
