package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// comfyURL is where the ComfyUI of a program listens.
func (p *program) comfyURL() string { return "http://127.0.0.1:" + p.env["COMFY_PORT"] }

// tell posts JSON to its ComfyUI, as somebody else would.
func (p *program) tell(path string, body any) {
	p.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := client.Post(p.comfyURL()+path, "application/json", bytes.NewReader(raw))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("POST %s answered %s", path, resp.Status)
	}
}

// outcomeOf is how one prompt ended, "" if it has not.
func outcomeOf(runs []comfytest.Execution, prompt string) string {
	for _, e := range runs {
		if e.PromptID == prompt {
			return e.Outcome
		}
	}
	return ""
}

// Prompts of somebody else in ComfyUI's queue survive that a job of ours is stopped, times out or completes beside them, and no history but ours is removed.
func TestFault_H12_ForeignPromptsSurvive(t *testing.T) {
	t.Parallel()
	bothGenerations(t, func(t *testing.T, version string) {
		p, q := queued(t, runpodtest.Config{Hold: hold, HoldStop: time.Minute},
			"SIMCOMFY_VERSION", version, "JOB_TIMEOUT", "5m")
		p.waitReady()
		const foreign = "0f0f0f0f-0000-4000-8000-00000000000%d"
		prompt := func(n int, seconds float64) {
			p.tell("/prompt", map[string]any{
				"prompt_id": fmt.Sprintf(foreign, n), "client_id": "somebody",
				"prompt": map[string]any{"1": map[string]any{"class_type": "SimSleep", "inputs": map[string]any{
					"seconds": seconds, "mode": "poll", "steps": 100, "seed": n,
				}}},
			})
		}
		prompt(1, 1)
		q.Submit("a", endless(1)) // waits behind a foreign one, and is stopped there
		p.waitLines(2, "got prompt")
		prompt(2, 1)
		q.Stop("a")
		p.waitLine("job failed", "canceled")
		q.Submit("b", picture(2))
		if o := ends(t, q, "b"); o.Status != runpodtest.Completed {
			t.Errorf("job b: %+v", o)
		}
		runs := p.executed(3)
		for n := 1; n <= 2; n++ {
			id := fmt.Sprintf(foreign, n)
			if got := outcomeOf(runs, id); got != comfytest.Success {
				t.Errorf("foreign prompt %d ended with %q", n, got)
			}
			var history map[string]any
			if p.get(p.comfyURL()+"/history/"+id, &history); history[id] == nil {
				t.Errorf("the history of foreign prompt %d is gone", n)
			}
		}
		checked(t, q)
	})
}

// ComfyUI's history does not grow with the jobs: after two hundred it holds no more than ten.
func TestFault_H13_HistoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	const jobs = 200
	p, q := queued(t, runpodtest.Config{Hold: hold}, "JOB_PREFETCH", "1")
	for i := range jobs {
		q.Submit(fmt.Sprint(i), simulated("SimText", fmt.Sprintf(`{"text":"%d"}`, i)))
	}
	for i := range jobs {
		if o := ends(t, q, fmt.Sprint(i)); o.Status != runpodtest.Completed {
			t.Fatalf("job %d: %+v", i, o)
		}
	}
	p.waitLines(jobs, "job completed")
	p.wait("the history is short", func() bool {
		var ledger comfytest.Ledger
		p.get(p.comfyURL()+"/sim/ledger", &ledger)
		return ledger.History <= 10
	})
	checked(t, q)
}

// ComfyUI closes kept connections at the worst moments and loses answers to prompts that it accepted: each job is still executed once.
func TestFault_H14_CutConnectionsExecuteEachJobOnce(t *testing.T) {
	t.Parallel()
	const jobs = 20
	p, q := queued(t, runpodtest.Config{Hold: hold})
	p.waitReady()
	p.tell("/sim/faults", comfytest.Faults{
		{On: "POST /prompt", Do: "lost", Skip: 1, Count: jobs / 2},
		{On: "GET /history/*", Do: "reset", Count: jobs},
		{On: "POST /history", Do: "reset", Count: jobs},
	})
	for i := range jobs {
		q.Submit(fmt.Sprint(i), picture(i))
	}
	for i := range jobs {
		if o := ends(t, q, fmt.Sprint(i)); o.Status != runpodtest.Completed {
			t.Errorf("job %d: %s %s", i, o.Status, o.Error)
		}
	}
	runs := p.executed(jobs)
	if got := outcomes(runs); got[comfytest.Success] != jobs || len(runs) != jobs {
		t.Errorf("executions: %v, want %d successes", got, jobs)
	}
	checked(t, q)
}
