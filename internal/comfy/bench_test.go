package comfy

import (
	"slices"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"go.uber.org/zap"
)

// One prompt from submission to outcome over loopback. "late" is the time from
// the end that the simulated ComfyUI noted to the return of Run.
func BenchmarkRun(b *testing.B) {
	server := comfytest.NewServer(b, comfytest.Config{Version: comfytest.V0330, NoCache: true})
	c := New(Config{Addr: server.Addr}, zap.NewNop())
	b.Cleanup(func() { c.Close() })
	var late []time.Duration
	attempt := 0
	for b.Loop() {
		attempt++
		prompt := Prompt{ID: PromptID(b.Name(), attempt), Workflow: []byte(`{"1":{"class_type":"SimText","inputs":{"text":"x"}}}`)}
		if _, err := c.Run(b.Context(), prompt, nil); err != nil {
			b.Fatal(err)
		}
		returned := time.Now()
		all := server.Executions()
		late = append(late, returned.Sub(all[len(all)-1].Ended))
	}
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2].Microseconds()), "late-µs/p50")
	b.ReportMetric(float64(late[len(late)*99/100].Microseconds()), "late-µs/p99")
}

func BenchmarkDecodeHistory(b *testing.B) {
	body := fixture(b, "history/batch_and_temp.json")
	b.ReportAllocs()
	for b.Loop() {
		entry, err := decodeHistory(&answer{status: 200, body: body}, fixtureID)
		if err != nil || len(entry.outcome().Outputs) != 3 {
			b.Fatal(err)
		}
	}
}
