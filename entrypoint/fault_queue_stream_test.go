package main

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// sampled is the input of a job that samples a small picture in a hundred steps.
const sampled = `{"workflow":{
	"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sd_xl_base_1.0.safetensors"}},
	"2":{"class_type":"CLIPTextEncode","inputs":{"text":"a lighthouse","clip":["1",1]}},
	"4":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":64,"batch_size":1}},
	"5":{"class_type":"KSampler","inputs":{"model":["1",0],"seed":1,"steps":100,"cfg":7,"sampler_name":"euler","scheduler":"normal",
		"positive":["2",0],"negative":["2",0],"latent_image":["4",0],"denoise":1}},
	"6":{"class_type":"VAEDecode","inputs":{"samples":["5",0],"vae":["1",2]}},
	"7":{"class_type":"SaveImage","inputs":{"images":["6",0],"filename_prefix":"x"}}}}`

// shows tells whether a part of a stream has a JPEG of the sampler's work in it.
func shows(t *testing.T, chunk json.RawMessage) bool {
	t.Helper()
	var p job.Progress
	if err := json.Unmarshal(chunk, &p); err != nil {
		t.Fatalf("part of a stream: %v: %.200s", err, chunk)
	}
	return p.Preview != nil && p.Node == "5" && p.Preview.MIME == "image/jpeg" && http.DetectContentType(p.Preview.Data) == "image/jpeg"
}

// With PROGRESS_PREVIEWS a job's unfinished pictures come by the queue's stream, in both generations of ComfyUI; without it none do, and none come after the result.
func TestFault_R8_PreviewsGoOutBeforeTheResult(t *testing.T) {
	t.Parallel()
	bothGenerations(t, func(t *testing.T, version string) {
		for _, on := range []string{"true", "false"} {
			t.Run(on, func(t *testing.T) {
				t.Parallel()
				_, q := queued(t, runpodtest.Config{Hold: hold}, "SIMCOMFY_VERSION", version,
					"PROGRESS_PREVIEWS", on, "PROGRESS_INTERVAL", "100ms", "SIMCOMFY_STEP", "20ms")
				q.Submit("a", sampled)
				if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
					t.Errorf("job a: %+v", o)
				}
				parts := q.Job("a").Stream
				if (len(parts) > 0) != (on == "true") {
					t.Errorf("%d previews", len(parts))
				}
				for _, part := range parts {
					if !shows(t, part.Output) {
						t.Errorf("no preview: %.200s", part.Output)
					}
				}
				checked(t, q)
			})
		}
	})
}

// With the local API the previews are in /stream, and what is left to do is told in seconds.
func TestPreviewsInTheLocalStream(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "PROGRESS_PREVIEWS", "true", "PROGRESS_INTERVAL", "100ms", "SIMCOMFY_STEP", "20ms")})
	p.waitReady()
	id := p.submit(sampled)
	shown, left := 0, 0
	p.wait("the end of the stream", func() bool {
		var answer struct {
			Status string
			Stream []struct{ Output json.RawMessage }
		}
		p.get(p.api+"/stream/"+id, &answer)
		for _, chunk := range answer.Stream {
			var told job.Progress
			if err := json.Unmarshal(chunk.Output, &told); err == nil && told.Left > 0 {
				left++
			}
			if shows(t, chunk.Output) {
				shown++
			}
		}
		return answer.Status == "COMPLETED"
	})
	if shown == 0 || left == 0 {
		t.Errorf("%d previews, %d estimates of the time left; want some of both", shown, left)
	}
}
