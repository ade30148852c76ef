package worker

import (
	"encoding/json"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// meter makes one percentage, which never falls, of what the nodes of a
// workflow tell. A node weighs as many steps as its input "steps" names, and 1
// beside that. It belongs to one goroutine.
type meter struct {
	nodes  workflow
	weight map[string]float64
	total  float64
	done   map[string]float64 // of each node's weight
	sum    float64            // of done
	told   job.Progress
}

func newMeter(wf workflow) *meter {
	m := &meter{nodes: wf, weight: make(map[string]float64, len(wf)), done: make(map[string]float64, len(wf))}
	for id, n := range wf {
		m.weight[id] = 1 + steps(n)
		m.total += m.weight[id]
	}
	return m
}

// steps is the number of steps that a node announces, 0 if it is no sampler.
func steps(n node) float64 {
	var count float64
	if json.Unmarshal(n.inputs["steps"], &count) != nil || count < 0 || count > 10_000 {
		return 0
	}
	return count
}

// see returns the progress after e, and whether it is news.
func (m *meter) see(e comfy.Event) (job.Progress, bool) {
	p := m.told
	switch e := e.(type) {
	case comfy.Cached:
		for _, id := range e.Nodes {
			m.reach(id, 1)
		}
	case comfy.Executing:
		if p.Node != e.Node {
			m.reach(p.Node, 1) // nodes run one after another
		}
		p.Node, p.Step, p.Steps = e.Node, 0, 0
	case comfy.Progress:
		if e.Max > 0 {
			m.reach(e.Node, e.Value/e.Max)
		}
		p.Node, p.Step, p.Steps = e.Node, int(e.Value), int(e.Max)
	case comfy.Executed:
		m.reach(e.Node, 1)
	default:
		return p, false
	}
	p.Class, p.Title = m.nodes[p.Node].class, m.nodes[p.Node].title
	p.Percent = max(m.told.Percent, 100*m.sum/m.total)
	news := p != m.told
	m.told = p
	return p, news
}

// reach notes that a node of the workflow has come to a share of its work.
func (m *meter) reach(id string, share float64) {
	reached := m.weight[id] * min(max(share, 0), 1)
	if gain := reached - m.done[id]; gain > 0 {
		m.done[id] = reached
		m.sum += gain
	}
}
