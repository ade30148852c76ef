package simulation

import (
	"time"
)

// heal takes all faults back.
func (r *run) heal() {
	r.mu.Lock()
	r.healed = true
	pods := r.pods
	r.mu.Unlock()
	r.queue.Heal()
	r.store.heal()
	r.queueLink.set(false, false)
	r.storeLink.set(false, false)
	for _, p := range pods {
		for _, in := range p.instances {
			in.comfyui.heal()
			in.comfyui.link.set(false, false)
		}
	}
}

// startPod is the platform: it starts a pod, and another when that has ended.
func (r *run) startPod() {
	r.mu.Lock()
	n := len(r.pods) + 1
	over := r.finishing || n > mostPods
	r.mu.Unlock()
	if over {
		return
	}
	p := newPod(r, n)
	r.mu.Lock()
	r.pods = append(r.pods, p)
	r.mu.Unlock()
	r.wg.Go(func() {
		p.run()
		if r.current() == p {
			r.later(200*time.Millisecond, func() {
				if r.current() == p {
					r.startPod()
				}
			})
		}
	})
}

func (r *run) current() *pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[len(r.pods)-1]
}

// terminate ends the pod, by SIGTERM or at once, and starts the next beside it.
func (r *run) terminate(kill bool) (acted func() int) {
	p := r.current()
	if p.isOver() || len(r.living()) > 3 {
		return nil
	}
	if kill {
		p.kill()
	} else {
		p.stop()
	}
	r.startPod()
	return once
}

// hurryStopping is a second SIGTERM.
func (r *run) hurryStopping() {
	for _, p := range r.living() {
		p.mu.Lock()
		stopping := !p.stopped.IsZero()
		p.mu.Unlock()
		if stopping {
			p.rush()
		}
	}
}

// comfy is the ComfyUI that a fault is about.
func (r *run) comfy(f *fault) *comfyui {
	p := r.current()
	return p.instances[f.pick%len(p.instances)].comfyui
}

// redeliver hands out a job once more, one at hand or one that has ended.
func (r *run) redeliver(f *fault) (acted func() int) {
	j := r.plan.jobs[f.pick%len(r.plan.jobs)]
	if len(r.queue.Job(j.id).Handouts) == 0 || j.deaths > 0 || j.spoils || j.stopAfter > 0 {
		return nil
	}
	r.queue.Redeliver(j.id)
	return once
}

// finish stops the last pod, and waits for all of them.
func (r *run) finish() {
	r.mu.Lock()
	r.finishing = true
	last := r.pods[len(r.pods)-1]
	r.mu.Unlock()
	last.stop()
	for _, p := range r.pods {
		if !r.await(time.Minute, p.isOver) {
			r.violation("", "%s did not end", p.name)
			p.kill()
			<-p.over
		}
	}
}
