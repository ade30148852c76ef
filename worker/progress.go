package worker

import (
	"encoding/json"
	"math"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// stepsMax is the most steps that a node is believed to take. Larger counts are
// bytes, or nonsense.
const stepsMax = 10_000

// meter makes one percentage, which never falls, of what the nodes of a
// workflow tell. A node weighs 1 and its steps: as many as its input "steps"
// names until it tells how many there are, and none if it ends without telling
// any. Nodes whose results are known weigh nothing. It belongs to one goroutine.
type meter struct {
	nodes   workflow
	weight  map[string]float64
	done    map[string]float64 // of each node's weight
	stepped map[string]bool    // nodes that have told steps
	total   float64            // of weight
	sum     float64            // of done
	told    job.Progress

	// The pace is that of the steps since the first one, because what comes
	// before it is models being loaded.
	paced time.Time
	from  float64 // what sum was then
}

func newMeter(wf workflow) *meter {
	m := &meter{
		nodes: wf, weight: make(map[string]float64, len(wf)),
		done: make(map[string]float64, len(wf)), stepped: make(map[string]bool),
	}
	for id, n := range wf {
		m.weight[id] = 1 + steps(n)
		m.total += m.weight[id]
	}
	return m
}

// steps is the number of steps that a node announces, 0 if it is no sampler.
func steps(n node) float64 {
	var count float64
	if json.Unmarshal(n.inputs["steps"], &count) != nil || count < 0 || count > stepsMax {
		return 0
	}
	return count
}

// see returns the progress after e, which came at now, and whether it is news.
func (m *meter) see(e comfy.Event, now time.Time) (job.Progress, bool) {
	p := m.told
	switch e := e.(type) {
	case comfy.Cached:
		for _, id := range e.Nodes {
			m.weigh(id, 0)
		}
	case comfy.Executing:
		if p.Node != e.Node {
			m.finish(p.Node) // nodes run one after another
		}
		p.Node, p.Step, p.Steps = e.Node, 0, 0
	case comfy.Progress:
		m.step(e, now)
		p.Node, p.Step, p.Steps = e.Node, int(e.Value), int(e.Max)
	case comfy.Executed:
		m.finish(e.Node)
	default:
		return p, false
	}
	p.Class, p.Title = m.nodes[p.Node].class, m.nodes[p.Node].title
	if m.total > 0 {
		p.Percent = max(m.told.Percent, min(100*m.sum/m.total, 100))
	}
	p.Left = m.left(now)
	news := p != m.told
	m.told = p
	return p, news
}

// step notes how far a node says that it has come.
func (m *meter) step(e comfy.Progress, now time.Time) {
	if !(e.Max > 0) {
		return
	}
	if !m.stepped[e.Node] && e.Max <= stepsMax {
		m.weigh(e.Node, 1+e.Max)
	}
	m.stepped[e.Node] = true
	m.reach(e.Node, e.Value/e.Max)
	if m.paced.IsZero() {
		m.paced, m.from = now, m.sum
	}
}

// finish notes that a node is done.
func (m *meter) finish(id string) {
	if !m.stepped[id] && m.weight[id] > 1 {
		m.weigh(id, 1) // its steps are another node's to take, as a scheduler's are
	}
	m.reach(id, 1)
}

// reach notes that a node of the workflow has come to a share of its work.
func (m *meter) reach(id string, share float64) {
	if !(share > 0) {
		return
	}
	reached := m.weight[id] * min(share, 1)
	if gain := reached - m.done[id]; gain > 0 {
		m.done[id] = reached
		m.sum += gain
	}
}

// weigh corrects the weight of a node of the workflow. The share of it that is
// done stays.
func (m *meter) weigh(id string, weight float64) {
	old, known := m.weight[id]
	if !known {
		return
	}
	done := 0.0
	if old > 0 {
		done = m.done[id] / old * weight
	}
	m.sum += done - m.done[id]
	m.total += weight - old
	m.weight[id], m.done[id] = weight, done
}

// left is how many seconds the rest takes at the pace so far, 0 if that is not
// known.
func (m *meter) left(now time.Time) float64 {
	made := m.sum - m.from
	if m.paced.IsZero() || made < 1 { // less than a step
		return 0
	}
	seconds := now.Sub(m.paced).Seconds() * (m.total - m.sum) / made
	return math.Round(10*max(seconds, 0)) / 10
}
