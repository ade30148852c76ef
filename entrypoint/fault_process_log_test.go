package main

import "time"

// waitLineFrom waits for a line of the log that has all words, from the line
// number at on, and returns it with the number of the one after it.
func (p *program) waitLineFrom(at int, words ...string) (line string, next int) {
	p.t.Helper()
	deadline := time.After(patience)
	for over := false; ; {
		p.mu.Lock()
		lines, more := p.lines[at:], p.more
		p.mu.Unlock()
		for _, line := range lines {
			at++
			if hasAll(line, words) {
				return line, at
			}
		}
		if over {
			p.t.Fatalf("comfyvisor ended with code %d and never logged %q", p.code, words)
		}
		select {
		case <-more:
		case <-p.ended: // its last lines may have come just before
			over = true
		case <-deadline:
			p.t.Fatalf("comfyvisor did not log %q from line %d on", words, at)
		}
	}
}
