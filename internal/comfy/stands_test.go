package comfy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// The queue stands still when prompts wait in it and nobody is left to run them,
// and not while one runs.
func TestStands(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		want := func(stands bool) {
			t.Helper()
			if got, err := p.Stands(t.Context()); got != stands || err != nil {
				t.Errorf("Stands = %t, %v; want %t", got, err, stands)
			}
		}
		want(false)
		first := p.start(t.Context(), p.prompt(sleepWorkflow(time.Minute, "sleep")), nil)
		p.awaitStart(1)
		ctx, cancel := context.WithCancel(t.Context())
		second := p.start(ctx, p.prompt(pictureWorkflow), nil)
		synctest.Wait()
		want(false)
		p.SetFaults(comfytest.Faults{{On: "process", Do: "zombie"}})
		if f := <-first; f.err != nil {
			t.Error(f.err)
		}
		synctest.Wait()
		want(true)
		cancel()
		<-second
	})
}
