package worker

import (
	"encoding/json"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// scrubbed is a failure, nil or not, whose texts have gone through scrub. Its details
// become JSON where there was something to take out of them.
func scrubbed(f *job.Failure, scrub func(string) string) *job.Failure {
	if f == nil || scrub == nil {
		return f
	}
	clean := *f
	clean.Message = scrub(f.Message)
	raw, err := json.Marshal(f.Details)
	if err != nil {
		return &clean // whoever writes the result finds out
	}
	if text := scrub(string(raw)); text != string(raw) {
		clean.Details = json.RawMessage(text)
	}
	return &clean
}
