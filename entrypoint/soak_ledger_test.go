package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// turnLedger reads what ComfyUI has executed, by prompt id: what was started,
// and what came to an end. It begins a new ledger.
func (s *soak) turnLedger() (starts, ends map[string][]comfytest.Execution) {
	s.t.Helper()
	ledger := s.env["SIMCOMFY_LEDGER"]
	raw, err := os.ReadFile(ledger)
	if err = errors.Join(err, os.Truncate(ledger, 0), keepSoak(s.counts.version+".jsonl", raw)); err != nil {
		s.t.Fatal(err)
	}
	starts, ends = make(map[string][]comfytest.Execution), make(map[string][]comfytest.Execution)
	for line := range bytes.Lines(raw) {
		var e comfytest.Execution
		if json.Unmarshal(line, &e) != nil { // what was killed in the middle of a line had no more to tell
			line = line[max(0, bytes.LastIndex(line, []byte(`{"prompt_id"`))):]
			if err := json.Unmarshal(line, &e); err != nil {
				s.t.Fatalf("ledger: %v: %s", err, line)
			}
		}
		into := ends
		if e.Outcome == comfytest.Running {
			into = starts
			s.counts.firsts = append(s.counts.firsts, soakEvent{Time: e.Started})
		}
		into[e.PromptID] = append(into[e.PromptID], e)
	}
	return starts, ends
}

// keepSoak appends to a file of -soak.keep, if that is given.
func keepSoak(name string, content []byte) error {
	if *soakKeep == "" {
		return nil
	}
	if err := os.MkdirAll(*soakKeep, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(*soakKeep, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
