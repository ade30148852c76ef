package worker

import (
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

func TestProgressRisesOverAllNodes(t *testing.T) {
	m := newMeter(mustParse(t, `{
		"1":{"class_type":"CheckpointLoaderSimple","inputs":{}},
		"2":{"class_type":"KSampler","inputs":{"steps":8},"_meta":{"title":"Sample it"}},
		"3":{"class_type":"SaveImage","inputs":{}}}`))
	sampling := func(percent float64, step int, left float64) job.Progress {
		return job.Progress{Percent: percent, Node: "2", Class: "KSampler", Title: "Sample it", Step: step, Steps: 8, Left: left}
	}
	steps := []struct {
		seconds int
		event   comfy.Event
		want    job.Progress
	}{
		{0, comfy.Executing{Node: "2"}, job.Progress{Node: "2", Class: "KSampler", Title: "Sample it"}},
		{60, comfy.Progress{Node: "2", Value: 4, Max: 8}, sampling(45, 4, 0)}, // no pace yet: it may have been the model
		{62, comfy.Progress{Node: "2", Value: 6, Max: 8}, sampling(67.5, 6, 2.9)},
		{62, comfy.Progress{Node: "2", Value: 0, Max: 8}, sampling(67.5, 0, 2.9)},
		{64, comfy.Executing{Node: "3"}, job.Progress{Percent: 90, Node: "3", Class: "SaveImage", Left: 0.9}},
		{65, comfy.Executed{Node: "3"}, job.Progress{Percent: 100, Node: "3", Class: "SaveImage"}},
	}
	begun := time.Now()
	if _, news := m.see(comfy.Cached{Nodes: []string{"1"}}, begun); news {
		t.Error("what is left out from the start is news")
	}
	for i, s := range steps {
		got, news := m.see(s.event, begun.Add(time.Duration(s.seconds)*time.Second))
		if diff := cmp.Diff(s.want, got); diff != "" || !news {
			t.Errorf("step %d, news %v (-want +got):\n%s", i, news, diff)
		}
	}
	if _, news := m.see(comfy.Started{}, begun); news {
		t.Error("an event that moves nothing is news")
	}
	if got, _ := m.see(comfy.Progress{Node: "not in the workflow", Value: 5, Max: 1}, begun); got.Percent != 100 {
		t.Errorf("a foreign node moved the percentage to %v", got.Percent)
	}
}

// What nodes tell corrects what their inputs announce.
func TestProgressWeighsWhatIsSeen(t *testing.T) {
	tests := []struct {
		name, workflow string
		events         []comfy.Event
		percent        float64
	}{
		{"a sampler of fewer steps than its input",
			`{"1":{"class_type":"KSamplerAdvanced","inputs":{"steps":99}},"2":{"class_type":"Upscale","inputs":{"steps":9}}}`,
			[]comfy.Event{comfy.Progress{Node: "1", Value: 9, Max: 9}}, 50},
		{"a scheduler that only announces the sampler's steps",
			`{"1":{"class_type":"BasicScheduler","inputs":{"steps":20}},"2":{"class_type":"SamplerCustomAdvanced","inputs":{}}}`,
			[]comfy.Event{comfy.Executing{Node: "1"}, comfy.Executing{Node: "2"}, comfy.Progress{Node: "2", Value: 10, Max: 18}}, 100 * (1 + 19*10./18) / 20},
		{"a count of bytes",
			`{"1":{"class_type":"Download","inputs":{}},"2":{"class_type":"KSampler","inputs":{"steps":9}}}`,
			[]comfy.Event{comfy.Progress{Node: "1", Value: 1e9, Max: 2e9}}, 100 * 0.5 / 11},
		{"everything known",
			`{"1":{"class_type":"KSampler","inputs":{"steps":9}}}`,
			[]comfy.Event{comfy.Cached{Nodes: []string{"1"}}, comfy.Executed{Node: "1"}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMeter(mustParse(t, tt.workflow))
			for _, e := range tt.events {
				m.see(e, time.Now())
			}
			// At the first steps the announced ones still count, so what is told
			// may be ahead; what is measured is not.
			if got := 100 * m.sum / max(m.total, 1); math.Abs(got-tt.percent) > 1e-9 {
				t.Errorf("measured %v %%, want %v", got, tt.percent)
			}
		})
	}
}

// Whatever events come, in whatever order, the percentage stays between 0 and
// 100 and does not fall, the rest is a finite number of seconds, and all of it
// can be written as JSON.
func TestProgressNeverFalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wf := make(workflow)
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			n := node{class: "Any", inputs: map[string]json.RawMessage{}}
			if steps := rapid.IntRange(-5, 12_000).Draw(t, "steps"); steps > 0 {
				n.inputs["steps"] = json.RawMessage(fmt.Sprint(steps))
			}
			wf[fmt.Sprint(i)] = n
		}
		id := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(-1, 6).Draw(t, "node")) })
		event := rapid.OneOf(
			rapid.Custom(func(t *rapid.T) comfy.Event {
				return comfy.Cached{Nodes: rapid.SliceOfN(id, 0, 4).Draw(t, "cached")}
			}),
			rapid.Custom(func(t *rapid.T) comfy.Event { return comfy.Executing{Node: id.Draw(t, "executing")} }),
			rapid.Custom(func(t *rapid.T) comfy.Event { return comfy.Executed{Node: id.Draw(t, "executed")} }),
			rapid.Custom(func(t *rapid.T) comfy.Event {
				return comfy.Progress{Node: id.Draw(t, "at"), Value: rapid.Float64().Draw(t, "value"), Max: rapid.Float64().Draw(t, "max")}
			}),
			rapid.Custom(func(t *rapid.T) comfy.Event {
				return comfy.Progress{Node: id.Draw(t, "at"), Value: rapid.Float64Range(0, 30).Draw(t, "value"), Max: rapid.Float64Range(0, 30).Draw(t, "max")}
			}),
		)
		m, now, before := newMeter(wf), time.Now(), 0.0
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(-10, 10_000).Draw(t, "ms")) * time.Millisecond)
			p, _ := m.see(event.Draw(t, "event"), now)
			if !(p.Percent >= before && p.Percent <= 100) {
				t.Fatalf("%v %% after %v %%", p.Percent, before)
			}
			if !(p.Left >= 0) || math.IsInf(p.Left, 0) {
				t.Fatalf("%v seconds are left", p.Left)
			}
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
			before = p.Percent
		}
	})
}

// Previews are told no more often than asked for, and not at all by default.
func TestPreviewsAreTold(t *testing.T) {
	for interval, want := range map[time.Duration]bool{0: false, time.Millisecond: true, time.Hour: true} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			p := startPod(t, comfytest.Config{Previews: true, StepDelay: 5 * time.Millisecond}, func(c *Config) { c.Previews = interval })
			p.do("a", sampled).wantOutput(t, 1)
			previews := 0
			for _, told := range p.source.progress("a") {
				if told.Preview == nil {
					continue
				}
				if previews++; told.Preview.MIME != "image/jpeg" || len(told.Preview.Data) == 0 || told.Node != "5" {
					t.Errorf("preview %+v", told)
				}
			}
			if (previews > 0) != want || interval == time.Hour && previews != 1 {
				t.Errorf("%d previews", previews)
			}
		})
	}
}

// Who watches is shown previews although the source is not, and only while
// watching.
func TestPreviewsAreShownToWhoWatches(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprint(watched), func(t *testing.T) {
			var shown atomic.Int64
			p := startPod(t, comfytest.Config{Previews: true, StepDelay: 5 * time.Millisecond}, func(c *Config) {
				c.Watched = func() bool { return watched }
				c.Observe = func(e Event) {
					if e.Progress != nil && e.Progress.Preview != nil {
						shown.Add(1)
					}
				}
			})
			p.do("a", sampled).wantOutput(t, 1)
			if n := shown.Load(); n > 0 != watched {
				t.Errorf("%d previews were shown", n)
			}
			for _, told := range p.source.progress("a") {
				if told.Preview != nil {
					t.Fatalf("the source was told of a preview: %+v", told)
				}
			}
		})
	}
}

// sampled is the input of a job that samples a small picture in ten steps.
const sampled = `{"workflow":{
	"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sd_xl_base_1.0.safetensors"}},
	"2":{"class_type":"CLIPTextEncode","inputs":{"text":"a lighthouse","clip":["1",1]}},
	"4":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":64,"batch_size":1}},
	"5":{"class_type":"KSampler","inputs":{"model":["1",0],"seed":1,"steps":10,"cfg":7,"sampler_name":"euler","scheduler":"normal",
		"positive":["2",0],"negative":["2",0],"latent_image":["4",0],"denoise":1}},
	"6":{"class_type":"VAEDecode","inputs":{"samples":["5",0],"vae":["1",2]}},
	"7":{"class_type":"SaveImage","inputs":{"images":["6",0],"filename_prefix":"x"}}}}`
