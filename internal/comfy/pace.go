package comfy

import "time"

const (
	// settleFor is how long history may lag behind the end of a prompt.
	settleFor   = 5 * time.Second
	settleFirst = 10 * time.Millisecond
	settleMost  = 320 * time.Millisecond
	// longSilence is, in times of the normal patience, when to ask more often.
	longSilence = 5
)

// A pace decides when ComfyUI is asked for a prompt: at once when events said
// that it is over, soon when they hinted at it, else after a while of silence.
type pace struct {
	silence time.Duration // Config.PollSilent
	heard   time.Time     // last event of the prompt, or its submission
	events  bool          // there was one
	asked   time.Time     // last answer
	atOnce  bool
	mark    mark // the strongest so far
	marked  time.Time
	step    time.Duration // from one question to the next while marked
}

// hear notes an event, and what it says about the end.
func (p *pace) hear(at time.Time, m mark) {
	p.heard, p.events = at, true
	if m <= p.mark {
		return
	}
	p.mark, p.marked, p.step = m, at, settleFirst
	if m == endMark {
		p.atOnce, p.step = true, settleFirst/2
	}
}

// ask notes that ComfyUI was asked and did not have the prompt's end.
func (p *pace) ask(at time.Time) {
	p.asked, p.atOnce = at, false
	p.step = min(2*p.step, settleMost)
	if p.mark == hintMark && at.Sub(p.marked) >= settleFor {
		p.mark = noMark // the prompt goes on without the node
	}
}

// due is when to ask next.
func (p *pace) due() time.Time {
	last := p.asked
	if p.heard.After(last) {
		last = p.heard
	}
	switch {
	case p.atOnce:
		return time.Time{}
	case p.mark != noMark && p.marked.After(p.asked):
		return p.marked.Add(p.step)
	case p.mark != noMark:
		return p.asked.Add(p.step)
	case p.asked.Sub(p.heard) >= longSilence*p.silence:
		return last.Add(p.silence / 2)
	}
	return last.Add(p.silence)
}

// overdue tells that events promised the end and history had its time.
func (p *pace) overdue(now time.Time) bool {
	return p.mark >= doneMark && now.Sub(p.marked) >= settleFor
}

// deaf tells, of a prompt that has ended, that the socket may be one of those
// that ComfyUI has forgotten: nothing of the prompt came through it, or nothing
// for long. ComfyUI is asked only after a silence, so there was time for events.
func (p *pace) deaf(now time.Time) bool {
	return p.mark == noMark && (!p.events || now.Sub(p.heard) >= longSilence*p.silence)
}
