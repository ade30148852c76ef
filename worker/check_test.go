package worker

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// requested waits until ComfyUI was asked for path n times.
func (p *pod) requested(path string, n int) {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		changed := p.comfy.Changed()
		if p.requests(path) >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("ComfyUI was asked %d times for %s, want %d", p.requests(path), path, n)
		}
	}
}

// requests counts the requests for a method and a path.
func (p *pod) requests(what string) int {
	n := 0
	for _, r := range p.comfy.Requests() {
		if r.Method+" "+r.Path == what {
			n++
		}
	}
	return n
}

// learned waits until the worker knows ComfyUI's nodes.
func (p *pod) learned() *pod {
	p.t.Helper()
	p.requested("GET /object_info", 1)
	if p.slot.knownSoon(p.t.Context(), 30*time.Second) == nil {
		p.t.Fatal("the worker does not know ComfyUI's nodes")
	}
	return p
}

// wantFault fails the test unless the job was refused for one fault, by ComfyUI
// itself after so many prompts in all.
func (d delivered) wantFault(t *testing.T, p *pod, prompts int) nodeFault {
	t.Helper()
	d.wantCause(t, CauseInvalid)
	if d.Failure.Kind != KindWorkflow || d.Failure.Retryable {
		t.Errorf("failure = %+v", d.Failure)
	}
	faults, _ := d.Failure.Details.([]nodeFault)
	if len(faults) != 1 {
		t.Fatalf("details = %+v, want one fault", d.Failure.Details)
	}
	if n := p.requests("POST /prompt"); n != prompts {
		t.Errorf("%d prompts were sent, want %d", n, prompts)
	}
	return faults[0]
}

func loads(model string) string {
	return `{"workflow":{"4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"` + model + `"},"_meta":{"title":"The Model"}},
		"9":{"class_type":"PreviewAny","inputs":{"source":["4",0]}}}}`
}

// A model that is not there fails the job before ComfyUI is asked, with node,
// title, class, field, what there is, and what may have been meant.
func TestFault_H1_MissingModelIsRefusedWithTheNearestOnes(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil).learned()
		d := p.do("a", loads("sdxl_base.safetensors"))
		f := d.wantFault(t, p, 0)
		if f.Node != "4" || f.Title != "The Model" || f.Class != "CheckpointLoaderSimple" || f.Field != "ckpt_name" || f.Type != "value_not_in_list" ||
			f.Received != `"sdxl_base.safetensors"` || !slices.Equal(f.DidYouMean, []string{"sd_xl_base_1.0.safetensors"}) || len(f.Available) != 3 {
			t.Errorf("fault = %+v", f)
		}
		for _, words := range []string{"ComfyUI would refuse the workflow: node 4 (CheckpointLoaderSimple) input ckpt_name",
			`Did you mean "sd_xl_base_1.0.safetensors" for ckpt_name?`, "Available for ckpt_name: flux1-dev-fp8.safetensors"} {
			if !strings.Contains(d.Failure.Message, words) {
				t.Errorf("message %q does not say %q", d.Failure.Message, words)
			}
		}
		if !strings.Contains(string(d.body), `"did_you_mean":["sd_xl_base_1.0.safetensors"]`) {
			t.Errorf("body = %s", d.body)
		}
		p.do("b", loads("sd_xl_base_1.0.safetensors")).wantOutput(t, 0)
	})
}

// A node class that is not there fails the job before ComfyUI is asked, with the
// nearest classes that are.
func TestFault_H1_MissingClassIsRefusedWithTheNearestOnes(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil).learned()
		d := p.do("a", `{"workflow":{"3":{"class_type":"EmptyImages","inputs":{}},"2":{"class_type":"SaveImage","inputs":{"images":["3",0]}}}}`)
		f := d.wantFault(t, p, 0)
		if f.Node != "3" || f.Class != "EmptyImages" || f.Field != "" || f.Type != "missing_node_type" || !slices.Contains(f.DidYouMean, "EmptyImage") {
			t.Errorf("fault = %+v", f)
		}
		for _, words := range []string{"Node 'EmptyImages' not found", `Did you mean "EmptyImage" for EmptyImages?`, "Install the custom nodes"} {
			if !strings.Contains(d.Failure.Message, words) {
				t.Errorf("message %q does not say %q", d.Failure.Message, words)
			}
		}
	})
}

// A workflow of a hundred missing classes with endless names is refused in a
// few words.
func TestRefusalIsBounded(t *testing.T) {
	var nodes []string
	long := strings.Repeat("x", 1000)
	for i := range 100 {
		nodes = append(nodes, fmt.Sprintf(`"%d":{"class_type":"%d%s","inputs":{},"_meta":{"title":"%s"}}`, i, i, long, long))
	}
	p := startPod(t, comfytest.Config{}, nil).learned()
	d := p.do("a", `{"workflow":{`+strings.Join(nodes, ",")+`}}`)
	d.wantCause(t, CauseInvalid)
	if faults, _ := d.Failure.Details.([]nodeFault); len(faults) != faultsTold || len(d.body) > 128<<10 || len(d.Failure.Message) > 4<<10 {
		t.Errorf("%d faults, a body of %d bytes and a message of %d", len(faults), len(d.body), len(d.Failure.Message))
	}
	if n := p.requests("POST /prompt"); n != 0 {
		t.Errorf("%d prompts were sent, want none", n)
	}
}

// What the check must not judge goes to ComfyUI, whose refusal is then explained.
func TestRefusalByComfyUIIsExplained(t *testing.T) {
	replaced := comfytest.Faults{{On: "GET /node_replacements", Do: "answer", Status: 200, Body: `{"LoadImages":[{"new_node_id":"LoadImage"}]}`}}
	busy := comfytest.Faults{{On: "GET /object_info/*", Do: "answer", Status: 500}}
	for _, tt := range []struct {
		name, workflow string
		faults         comfytest.Faults
		want           string // the first guess
	}{
		{"a list of a class that may have a validation of its own",
			`{"1":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":0}},
			"2":{"class_type":"ImageScale","inputs":{"image":["1",0],"upscale_method":"bilinaer","width":8,"height":8,"crop":"disabled"}},
			"3":{"class_type":"PreviewImage","inputs":{"images":["2",0]}}}`, nil, "bilinear"},
		{"a class that ComfyUI may replace", `{"2":{"class_type":"LoadImages","inputs":{}},"3":{"class_type":"PreviewImage","inputs":{"images":["2",0]}}}`,
			replaced, "LoadImage"},
		{"a missing model that cannot be asked for once more", `{"2":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sdxl-base"}},
			"3":{"class_type":"PreviewAny","inputs":{"source":["2",0]}}}`, busy, "sd_xl_base_1.0.safetensors"},
		{"a missing class that cannot be asked for once more", `{"2":{"class_type":"SaveImag","inputs":{}}}`, busy, "SaveImage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			both(t, func(t *testing.T, sim comfytest.Config) {
				sim.Faults = tt.faults
				p := startPod(t, sim, nil).learned()
				d := p.do("a", `{"workflow":`+tt.workflow+`}`)
				f := d.wantFault(t, p, 1)
				if f.Node != "2" || f.Title == "" && f.Type == "value_not_in_list" || len(f.DidYouMean) == 0 || f.DidYouMean[0] != tt.want {
					t.Errorf("fault = %+v, want %q meant", f, tt.want)
				}
				if !strings.HasPrefix(d.Failure.Message, "ComfyUI refused the workflow") || !strings.Contains(d.Failure.Message, "Did you mean") {
					t.Errorf("message = %q", d.Failure.Message)
				}
			})
		})
	}
}

// A model that was added since ComfyUI was asked is found, and stays known.
func TestModelAddedLaterIsNotRefused(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		early := sim
		early.Dir, early.Models = t.TempDir(), map[string][]string{"checkpoints": {"old.safetensors"}}
		sim.Faults = comfytest.Faults{{On: "GET /object_info", Do: "answer", Status: 200, Body: objectInfo(t, early)}}
		p := startPod(t, sim, nil).learned()
		for _, id := range []string{"a", "b"} {
			p.do(id, loads("sd_xl_base_1.0.safetensors")).wantOutput(t, 0)
		}
		if n := p.requests("GET /object_info/CheckpointLoaderSimple"); n != 1 {
			t.Errorf("ComfyUI was asked %d times for the class, want 1", n)
		}
	})
}

// objectInfo is what a ComfyUI says of its nodes.
func objectInfo(t *testing.T, sim comfytest.Config) string {
	t.Helper()
	c := comfytest.New(sim)
	defer c.Close()
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, httptest.NewRequest("GET", "/object_info", nil))
	return answer.Body.String()
}

// The list of an upload is older than the job's own file.
func TestUploadedImageIsNotRefused(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil).learned()
		p.do("a", `{"workflow":{"1":{"class_type":"LoadImage","inputs":{"image":"in.png"}},"2":{"class_type":"PreviewImage","inputs":{"images":["1",0]}}},
			"images":[{"name":"in.png","image":"`+tinyPNG+`"}]}`).wantOutput(t, 0)
	})
}

const tinyPNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// A list of nodes that cannot be read costs the check, never a job.
func TestJobRunsWithoutTheListOfNodes(t *testing.T) {
	for name, fault := range map[string]comfytest.Fault{
		"no answer":      {On: "GET /object_info", Do: "hang"},
		"an error":       {On: "GET /object_info", Do: "answer", Status: 500},
		"a cut answer":   {On: "GET /object_info", Do: "truncate", After: 1000},
		"no JSON":        {On: "GET /object_info", Do: "answer", Status: 200, Body: "<html>"},
		"no connection":  {On: "GET /object_info", Do: "reset"},
		"a slow answer":  {On: "GET /object_info", Do: "drip", Bytes: 1, Delay: time.Second},
		"no rules known": {On: "GET /node_replacements", Do: "answer", Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, sim comfytest.Config) {
				sim.Faults = comfytest.Faults{fault}
				p := startPod(t, sim, nil)
				p.requested("GET /object_info", 1)
				p.do("a", picture(1)).wantOutput(t, 1)
				f := p.do("b", loads("sd_xl_base_1.1.safetensors")).wantFault(t, p, 2)
				if !slices.Equal(f.DidYouMean, []string{"sd_xl_base_1.0.safetensors"}) {
					t.Errorf("fault = %+v, want a guess out of ComfyUI's own words", f)
				}
			})
		})
	}
}

func TestComfyUIIsAskedOncePerIncarnation(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil).learned()
		for _, id := range []string{"a", "b", "c"} {
			p.do(id, picture(1)).wantOutput(t, 1)
		}
		if n := p.requests("GET /object_info"); n != 1 {
			t.Errorf("ComfyUI was asked %d times, want once", n)
		}
		p.ends <- death{}
		p.requested("GET /object_info", 2)
		p.do("d", loads("nothing of the kind")).wantCause(t, CauseInvalid)
		if n := p.requests("GET /object_info"); n != 2 {
			t.Errorf("ComfyUI was asked %d times, want once per incarnation", n)
		}
	})
}

func TestUncheckedWorkflowsGoToComfyUI(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, func(c *Config) { c.Unchecked = true })
		p.do("a", `{"workflow":{"2":{"class_type":"SaveImag","inputs":{}}}}`).wantFault(t, p, 1)
		if n := p.requests("GET /object_info"); n != 0 {
			t.Errorf("ComfyUI was asked %d times for its nodes", n)
		}
	})
}
