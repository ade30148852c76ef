package comfy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
)

const (
	// submissions is how often a prompt is submitted that ComfyUI turns out not
	// to have.
	submissions = 2
	// doubtFor is how long ComfyUI is asked for a prompt whose submission was
	// not answered, doubtStep how often.
	doubtFor  = 30 * time.Second
	doubtStep = 250 * time.Millisecond
	// withdrawFor bounds the withdrawal of a prompt accepted in part.
	withdrawFor = 5 * time.Second
)

// submission is the body of POST /prompt.
type submission struct {
	Prompt    json.RawMessage `json:"prompt"`
	ClientID  string          `json:"client_id"`
	PromptID  string          `json:"prompt_id"`
	ExtraData map[string]any  `json:"extra_data,omitempty"`
}

// submit hands the prompt to ComfyUI and returns nil when ComfyUI has it.
func (r *run) submit(ctx context.Context, p Prompt) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(submission{
		Prompt: p.Workflow, ClientID: r.client.id, PromptID: p.ID, ExtraData: p.ExtraData,
	})
	if err != nil {
		return fmt.Errorf("encode prompt %s: %w", p.ID, err)
	}
	for attempt := 1; ; attempt++ {
		err := r.post(ctx, body.Bytes())
		if !doubtful(err) {
			return err
		}
		if known, doubt := r.known(ctx); known || doubt != nil {
			return doubt
		}
		if attempt == submissions {
			return err
		}
		r.client.reconnect()
		if p.Again != nil {
			p.Again()
		}
	}
}

// doubtful tells that a submission which ended in err may have been accepted all
// the same: its answer was lost, or is one that says nothing.
func doubtful(err error) bool {
	var refused *HTTPError
	var rejected *RejectedError
	var dial dialFailure
	switch {
	case err == nil, errors.As(err, &rejected), errors.As(err, &dial):
		return false
	case errors.As(err, &refused):
		return refused.Status >= http.StatusInternalServerError
	}
	return true
}

// known asks whether ComfyUI has the prompt. The answer no has to come twice: a
// request that nobody waits for any more may still be on its way.
func (r *run) known(ctx context.Context) (bool, error) {
	misses := 0
	for begun := time.Now(); ; {
		at, err := r.client.find(ctx, r.id)
		switch {
		case err == nil && at.place != unknown:
			return true, nil
		case err == nil:
			if misses++; misses == 2 {
				return false, nil
			}
		case time.Since(begun) > doubtFor:
			return false, fmt.Errorf("find out whether ComfyUI has prompt %s: %w", r.id, err)
		}
		if !pause(ctx, doubtStep) {
			return false, context.Cause(ctx)
		}
	}
}

// post submits the prompt once.
func (r *run) post(ctx context.Context, body []byte) error {
	var got posted
	select {
	case got = <-r.client.post(r.id, body):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if got.err != nil {
		return got.err
	}
	if got.answer.status == http.StatusBadRequest {
		return decodeRejection(got.answer.body, r.graph)
	}
	if id := got.acceptance.PromptID; id != "" && id != r.id {
		r.client.stream.rename(r.inbox, id)
		r.id = id
	}
	if len(got.acceptance.NodeErrors) > 0 {
		return r.withdraw(ctx, decodeRejection(got.answer.body, r.graph))
	}
	return nil
}

// withdraw cancels a prompt of which ComfyUI would execute only a part.
func (r *run) withdraw(ctx context.Context, why *RejectedError) error {
	if why.Message == "" {
		why.Message = "some of its outputs are not valid"
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawFor)
	defer cancel()
	if err := r.client.Cancel(ctx, r.id); err != nil {
		r.client.log.Warn("prompt accepted in part goes on", zap.String("prompt", r.id), zap.Error(err))
	}
	return why
}
