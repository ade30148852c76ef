package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// painting is a workflow that samples a picture.
func painting(seed, steps int) string {
	return fmt.Sprintf(`{
	"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sd_xl_base_1.0.safetensors"},"_meta":{"title":"Load Checkpoint"}},
	"2":{"class_type":"CLIPTextEncode","inputs":{"text":"a lighthouse on a cliff at dusk, warm light, calm sea","clip":["1",1]},"_meta":{"title":"What to paint"}},
	"3":{"class_type":"CLIPTextEncode","inputs":{"text":"blurry","clip":["1",1]},"_meta":{"title":"What to avoid"}},
	"4":{"class_type":"EmptyLatentImage","inputs":{"width":512,"height":512,"batch_size":1}},
	"5":{"class_type":"KSampler","inputs":{"model":["1",0],"seed":%d,"steps":%d,"cfg":7,"sampler_name":"euler","scheduler":"normal",
		"positive":["2",0],"negative":["3",0],"latent_image":["4",0],"denoise":1},"_meta":{"title":"Paint it"}},
	"6":{"class_type":"VAEDecode","inputs":{"samples":["5",0],"vae":["1",2]}},
	"7":{"class_type":"SaveImage","inputs":{"images":["6",0],"filename_prefix":"lighthouse"},"_meta":{"title":"Save"}}}`, seed, steps)
}

// submitMany runs so many jobs, each to its end.
func (p *program) submitMany(jobs int, body string) {
	p.t.Helper()
	var left, failed atomic.Int64
	left.Store(int64(jobs))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				resp, err := http.Post(p.api+"/runsync", "application/json", strings.NewReader(body))
				if err != nil {
					failed.Add(1)
					continue
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := failed.Load(); n > 0 {
		p.t.Fatalf("%d of %d jobs were not done", n, jobs)
	}
}

// file writes a file that a browser can choose.
func (p *program) file(name, content string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// tinyPNG is one transparent pixel.
var tinyPNG = func() string {
	b, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
	if err != nil {
		panic(err)
	}
	return string(b)
}()
