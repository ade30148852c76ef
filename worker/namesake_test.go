package worker

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

func TestNamesakesWaitForOneAnother(t *testing.T) {
	var n namesakes
	before, leaveFirst := n.join("a")
	if before != nil {
		t.Error("the first life waits for somebody")
	}
	second, leaveSecond := n.join("a")
	if other, leave := n.join("b"); other != nil {
		t.Error("a life waits for one of another job")
	} else {
		leave()
	}
	select {
	case <-second:
		t.Error("the second life does not wait")
	default:
	}
	leaveFirst()
	<-second
	leaveSecond()
	if len(n.last) != 0 {
		t.Errorf("%d lives are remembered after their end", len(n.last))
	}
}

// A job that is handed out again while its first life is being reported runs
// after that has ended, with its own files.
func TestFault_J3_JobHandedOutAgainWaitsForTheEndOfItsFirstLife(t *testing.T) {
	reported, goOn := make(chan string, 4), make(chan struct{})
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Source.(*feed).hold = func(ctx context.Context, id string) error {
			reported <- id
			select {
			case <-goOn:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	again := job.Job{ID: "a", Taken: time.Now(), Input: json.RawMessage(picture(1))}
	p.source.submit(again)
	<-reported
	p.source.submit(again)
	p.source.submit(job.Job{ID: "b", Taken: time.Now(), Input: json.RawMessage(picture(2))})
	if n := len(p.comfy.Executions()); n != 1 {
		t.Errorf("%d executions while the first life is reported, want 1", n)
	}
	close(goOn)
	for range 2 {
		p.source.wait(t, "a").wantOutput(t, 1)
	}
	p.source.wait(t, "b").wantOutput(t, 1)
}

// Attempts that an earlier process may have made are counted on, so that none of
// their names is used again.
func TestAttemptsOfAnEarlierProcessAreCountedOn(t *testing.T) {
	var n namesakes
	_, leave := n.join("a")
	defer leave()
	var got []int
	for _, handed := range []int{0, 0, 1, 2, 0} {
		got = append(got, n.count("a", handed))
	}
	if diff := cmp.Diff([]int{1, 2, 3, 5, 6}, got); diff != "" {
		t.Errorf("numbers of attempts (-want +got):\n%s", diff)
	}
}
