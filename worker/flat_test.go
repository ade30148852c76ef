package worker

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

var flatJobs = flag.Int("flat.jobs", 200, "how many jobs have to leave disk and history flat")

// Over many jobs, of which many are the same and all bring a file of the same
// name, ComfyUI's history and its directories hold no more than the jobs at hand
// need, and nothing at the end.
func TestJobsLeaveDiskAndHistoryFlat(t *testing.T) {
	jobs, many := *flatJobs, 12 // at hand: one runs, some are delivered
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		image := base64.StdEncoding.EncodeToString(pngOf(t, p))
		for n := range jobs {
			p.source.submit(job.Job{ID: fmt.Sprint("job", n), Taken: time.Now(), Input: json.RawMessage(fmt.Sprintf(`{"workflow":{
				"1":{"class_type":"LoadImage","inputs":{"image":"in.png"}},
				"2":{"class_type":"ImageScale","inputs":{"image":["1",0],"upscale_method":"area","width":%d,"height":8,"crop":"disabled"}},
				"3":{"class_type":"SaveImage","inputs":{"images":["2",0],"filename_prefix":"x"}}},
				"images":[{"name":"in.png","image":%q}]}`, 8+n%7, image))})
			if n < many {
				continue
			}
			p.source.wait(t, fmt.Sprint("job", n-many)).wantOutput(t, 1)
			in, out, history := entries(t, p.comfy.InputDir()), entries(t, p.comfy.OutputDir()), p.comfy.HistorySize()
			if most := 2 * many; in > most || out > most || history > most {
				t.Fatalf("after %d jobs there are %d inputs, %d outputs and %d entries of history", n, in, out, history)
			}
		}
		for n := jobs - many; n < jobs; n++ {
			p.source.wait(t, fmt.Sprint("job", n)).wantOutput(t, 1)
		}
		p.stop()
		<-p.ended
		p.ended <- nil
		if n := entries(t, p.comfy.InputDir()) + entries(t, p.comfy.OutputDir()) + p.comfy.HistorySize(); n != 0 {
			t.Errorf("%d files and entries are left", n)
		}
	})
}
