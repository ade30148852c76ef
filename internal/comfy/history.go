package comfy

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// A historyEntry is what ComfyUI keeps of a prompt that has ended. The echo of
// the workflow, which is most of it, is skipped.
type historyEntry struct {
	// Outputs are what nodes reported, by node id.
	Outputs map[string]json.RawMessage `json:"outputs"`
	Status  historyStatus              `json:"status"`
	// nulled tells that there were numbers in it that JSON has not.
	nulled bool
}

type historyStatus struct {
	Word      string           `json:"status_str"`
	Completed bool             `json:"completed"`
	Messages  []historyMessage `json:"messages"`
}

// A historyMessage is one of the messages that the owner of the prompt was
// sent. In JSON it is a pair of its type and its data.
type historyMessage struct {
	kind string
	data struct {
		Nodes     []string `json:"nodes"`
		Timestamp int64    `json:"timestamp"` // milliseconds
		wireFailure
	}
}

// UnmarshalJSON reads the pair. What is none becomes a message of no kind.
func (m *historyMessage) UnmarshalJSON(raw []byte) error {
	var pair []json.RawMessage
	if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
		return nil
	}
	m.kind = text(pair[0])
	return decode(pair[1], &m.data)
}

// decodeHistory reads the answer to a question for one prompt. The entry is nil
// if the history does not have it.
func decodeHistory(a *answer, id string) (*historyEntry, error) {
	var entries map[string]*historyEntry
	if err := a.decode(&entries); err != nil {
		return nil, err
	}
	entry := entries[id]
	if entry != nil {
		_, entry.nulled = nullNaN(a.body)
	}
	return entry, nil
}

// history asks for the entry of a prompt, which is nil until the prompt has
// ended, and again after it was forgotten.
func (c *Client) history(ctx context.Context, id string) (*historyEntry, error) {
	a, err := c.get(ctx, "/history/"+url.PathEscape(id), largeAnswer)
	if err != nil {
		return nil, err
	}
	return decodeHistory(a, id)
}

// verdict says how the prompt ended: nil for success, ErrInterrupted, or a
// NodeFailure. The messages count first, then the status: ComfyUI leaves a stale
// "success" when it fails before the first node. Told is the failure that the
// event socket announced, if any. It decides only when history is of two minds.
func (s *historyStatus) verdict(told *NodeFailure) error {
	for _, m := range slices.Backward(s.Messages) {
		switch m.kind {
		case "execution_error":
			return m.data.failure()
		case "execution_interrupted":
			return ErrInterrupted
		case "execution_success":
			if s.Word == "error" {
				return &NodeFailure{Message: "ComfyUI's history tells both success and an error of the prompt"}
			}
			return nil
		}
	}
	switch {
	case told != nil && !told.blocked():
		return told
	case s.Word == "success":
		return nil
	}
	return &NodeFailure{Message: "ComfyUI's history tells that the prompt failed, but not why"}
}

// cached are the nodes that were not executed.
func (s *historyStatus) cached() []string {
	for _, m := range s.Messages {
		if m.kind == "execution_cached" {
			return m.data.Nodes
		}
	}
	return nil
}

// elapsed is the time from start to end by ComfyUI's clock, 0 if not told.
func (s *historyStatus) elapsed() time.Duration {
	if len(s.Messages) < 2 {
		return 0
	}
	first, last := s.Messages[0].data.Timestamp, s.Messages[len(s.Messages)-1].data.Timestamp
	if first <= 0 || last < first {
		return 0
	}
	return time.Duration(last-first) * time.Millisecond
}
