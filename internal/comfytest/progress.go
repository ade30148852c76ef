package comfytest

import "time"

// A progressBook tells how far the nodes of a run have come.
type progressBook struct {
	run   *run
	nodes *object // progress_state entries by node id

	sent    time.Time // of the latest progress message
	percent float64
}

func newProgressBook(r *run) *progressBook { return &progressBook{run: r, nodes: obj()} }

func (b *progressBook) start(id string) { b.set(id, 0.0, 1.0, "running"); b.tell() }

func (b *progressBook) finish(id string) {
	state, ok := b.nodes.get(id).(*object)
	if !ok {
		b.set(id, 1, 1, "finished")
	} else {
		b.set(id, state.get("max"), state.get("max"), "finished")
	}
	b.tell()
}

// step tells about a node's own progress. The newer generation leaves
// messages out that come too soon after the last.
func (b *progressBook) step(id string, value, max int, image *preview) {
	b.set(id, value, max, "running")
	now, percent := time.Now(), 100*float64(value)/float64(max)
	soon := now.Sub(b.sent) < 100*time.Millisecond || percent-b.percent < 0.5
	if b.run.c.gen.throttled && soon && value != 1 && value != max && image == nil {
		return
	}
	b.sent, b.percent = now, percent
	b.tell()
	b.run.tell("progress", obj("value", value, "max", max, "prompt_id", b.run.p.id, "node", id), true)
	if image != nil {
		image.meta = obj("node_id", id, "prompt_id", b.run.p.id, "display_node_id", id,
			"parent_node_id", nil, "real_node_id", id, "image_type", "image/jpeg")
		b.run.c.hub.post(outgoing{to: b.run.owner(), preview: image})
	}
}

func (b *progressBook) set(id string, value, max any, state string) {
	b.nodes.set(id, obj("value", value, "max", max, "state", state, "node_id", id,
		"prompt_id", b.run.p.id, "display_node_id", id, "parent_node_id", nil, "real_node_id", id))
}

func (b *progressBook) tell() {
	b.run.tell("progress_state", obj("prompt_id", b.run.p.id, "nodes", b.nodes.clone()), true)
}
