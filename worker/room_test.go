package worker

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A job that kills ComfyUI each time takes no other with it: the job that waited behind it in ComfyUI's queue completes, because a second attempt has ComfyUI for itself.
func TestFault_J8_JobBehindAPoisonJobCompletes(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Prefetch = true })
	const rounds = 5
	for i := range rounds {
		for id, input := range map[string]string{
			fmt.Sprint("poison", i): simulated("SimDie", `{"how":"sigkill"}`),
			fmt.Sprint("good", i):   picture(i),
		} {
			p.source.submit(job.Job{ID: id, Taken: time.Now(), Input: json.RawMessage(input)})
		}
	}
	for i := range rounds {
		p.source.wait(t, fmt.Sprint("good", i)).wantOutput(t, 1)
		p.source.wait(t, fmt.Sprint("poison", i)).wantCause(t, CauseCrashed)
	}
}
