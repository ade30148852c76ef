package comfytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

func TestRoutes(t *testing.T) {
	tests := []struct {
		method, path, header string
		old, young           int
	}{
		{"GET", "/", "", 200, 200},
		{"GET", "/prompt", "", 200, 200},
		{"HEAD", "/prompt", "", 200, 200},
		{"GET", "/api/prompt", "", 200, 200},
		{"GET", "/system_stats", "", 200, 200},
		{"POST", "/system_stats", "", 405, 405},
		{"OPTIONS", "/system_stats", "", 200, 200},
		{"GET", "/features", "", 200, 200},
		{"GET", "/object_info/NoSuch", "", 200, 200},
		{"GET", "/models/nope", "", 404, 404},
		{"GET", "/internal/logs/raw", "", 200, 200},
		{"GET", "/internal/files/temp", "", 200, 200},
		{"GET", "/nope", "", 404, 404},
		{"GET", "/ws", "", 400, 400},
		{"GET", "/history?max_items=x", "", 500, 500},
		{"POST", "/free", "", 500, 500},
		{"POST", "/interrupt", "", 200, 200},
		{"GET", "/system_stats", "Origin: http://evil.example", 403, 403},
		{"GET", "/prompt", "Sec-Fetch-Site: cross-site", 200, 403},
		{"GET", "/api/jobs", "", 404, 200},
		{"GET", "/jobs", "", 404, 404},
		{"GET", "/api/api/jobs", "", 404, 200},
		{"GET", "/api/jobs/x", "", 404, 404},
		{"POST", "/api/jobs/x/cancel", "", 404, 200},
		{"GET", "/api/jobs/x/cancel", "", 404, 404},
		{"GET", "/api/assets", "", 404, 503},
	}
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		for _, tt := range tests {
			want := tt.old
			if version == comfytest.V0330 {
				want = tt.young
			}
			req, err := http.NewRequest(tt.method, s.URL+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if name, value, ok := strings.Cut(tt.header, ": "); ok {
				req.Header.Set(name, value)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%s %s %s: %d, want %d", tt.method, tt.path, tt.header, res.StatusCode, want)
			}
		}
		stats := newClient(t, s.URL).get("/system_stats")
		if got := stats["system"].(map[string]any)["comfyui_version"]; got != version {
			t.Errorf("comfyui_version %v", got)
		}
	})
}

func TestView(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL)
	writePNG(t, filepath.Join(s.OutputDir(), "a.png"), 4, 4)
	writePNG(t, filepath.Join(s.InputDir(), "in.png"), 4, 4)
	if err := os.WriteFile(filepath.Join(s.OutputDir(), "page.html"), []byte("<b>"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		query string
		want  int
	}{
		{"filename=a.png", 200}, {"filename=a.png&type=output", 200}, {"filename=in.png [input]", 200},
		{"filename=in.png&type=input", 200}, {"filename=nope.png", 404}, {"filename=a.png&type=bogus", 400},
		{"filename=../../secret", 400}, {"filename=/etc/passwd", 400}, {"filename=x..png", 400}, {"filename=", 400},
		{"type=output", 404}, {"filename=passwd&subfolder=../../../etc", 403}, {"filename=passwd&subfolder=/etc", 403},
		{"filename=a.png&preview=jpeg;70", 200}, {"filename=a.png&channel=a", 200},
	}
	for _, tt := range tests {
		query := strings.NewReplacer(" ", "%20", ";", "%3B").Replace(tt.query)
		if got, _ := c.do("GET", "/view?"+query, nil); got != tt.want {
			t.Errorf("GET /view?%s: %d, want %d", tt.query, got, tt.want)
		}
	}
	res, err := http.Get(s.URL + "/view?filename=page.html")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("html is sent as %s", got)
	}
}

// upload posts a file and returns the status and the answer.
func (c *client) upload(name, content string, fields url.Values) (int, string) {
	c.t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for key := range fields {
		_ = form.WriteField(key, fields.Get(key))
	}
	head := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="image"; filename="%s"`, name)}}
	part, err := form.CreatePart(head)
	if err != nil {
		c.t.Fatal(err)
	}
	_, _ = part.Write([]byte(content))
	form.Close()
	res, err := http.Post(c.url+"/upload/image", form.FormDataContentType(), &b)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ Name, Subfolder, Type string }
	_ = json.NewDecoder(res.Body).Decode(&v)
	return res.StatusCode, v.Type + ":" + v.Subfolder + "/" + v.Name
}

func TestUpload(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{MaxBody: 10000})
	c := newClient(t, s.URL)
	tests := []struct {
		name, content string
		fields        url.Values
		status        int
		answer        string
	}{
		{"up.png", "a", nil, 200, "input:/up.png"},
		{"up.png", "a", nil, 200, "input:/up.png"},
		{"up.png", "b", nil, 200, "input:/up (1).png"},
		{"up.png", "c", url.Values{"overwrite": {"true"}}, 200, "input:/up.png"},
		{"up.png", "d", url.Values{"subfolder": {"a/b"}, "overwrite": {"1"}}, 200, "input:a/b/up.png"},
		{"up.png", "e", url.Values{"type": {"temp"}}, 200, "temp:/up.png"},
		{"up.png", "e", url.Values{"type": {"bogus"}}, 500, ":/"},
		{"../../up.png", "e", nil, 400, ":/"},
		{"/etc/up.png", "e", nil, 500, ":/"},
		{"a/up.png", "e", nil, 500, ":/"},
		{"", "e", nil, 500, ":/"},
		{"up.png", "e", url.Values{"subfolder": {"../.."}}, 400, ":/"},
		{"big.bin", strings.Repeat("x", 10000), nil, 413, ":/"},
	}
	for _, tt := range tests {
		status, answer := c.upload(tt.name, tt.content, tt.fields)
		if status != tt.status || answer != tt.answer {
			t.Errorf("upload %q %v: %d %s, want %d %s", tt.name, tt.fields, status, answer, tt.status, tt.answer)
		}
	}
	if status, text := c.do("POST", "/prompt", strings.Repeat(" ", 10001)); status != 413 || text != "Maximum request body size 10000 exceeded." {
		t.Errorf("long prompt: %d %s", status, text)
	}
}

// LoadImage takes files from everywhere in the older generation, and only
// from its directory in the newer.
func TestLoadImageJail(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		outside := filepath.Join(t.TempDir(), "out.png")
		writePNG(t, outside, 4, 4)
		writePNG(t, filepath.Join(s.InputDir(), "in.png"), 4, 4)
		writePNG(t, filepath.Join(s.OutputDir(), "made.png"), 4, 4)
		if err := os.Symlink(outside, filepath.Join(s.InputDir(), "link.png")); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			image string
			young int
		}{
			{"in.png", 200}, {filepath.Join(s.InputDir(), "in.png"), 200}, {"made.png [output]", 200},
			{outside, 400}, {"link.png", 400}, {"../output/made.png", 400},
		}
		for _, tt := range tests {
			want := 200
			if version == comfytest.V0330 {
				want = tt.young
			}
			body := map[string]any{"prompt": map[string]any{
				"1": map[string]any{"class_type": "LoadImage", "inputs": map[string]any{"image": tt.image}},
				"2": map[string]any{"class_type": "PreviewImage", "inputs": map[string]any{"images": []any{"1", 0}}},
			}}
			if got, text := c.do("POST", "/prompt", body); got != want {
				t.Errorf("LoadImage %s: %d, want %d: %s", tt.image, got, want, text)
			}
		}
	})
}

// The picture has the asked size, depends on what was asked for, and lets an
// input image shine through.
func TestSampledPicture(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{StepDelay: -1})
	c := newClient(t, s.URL).connect("A")
	sums := make(map[string]bool)
	draw := func(workflow string) {
		c.untilEnd(c.prompt(workflow))
		e := s.Executions()
		file := e[len(e)-1].Files[0]
		sums[file.SHA256] = true
		f, err := os.Open(file.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		img, err := png.Decode(f)
		if err != nil {
			t.Fatalf("decode %s: %v", file.Path, err)
		}
		if b := img.Bounds(); b.Dx() != 64 || b.Dy() != 48 {
			t.Errorf("size %v, want 64 by 48", b)
		}
	}
	draw(sdxl)
	c.do("POST", "/free", `{"free_memory":true}`)
	draw(sdxl)
	if len(sums) != 1 {
		t.Error("the same prompt drew two pictures")
	}
	draw(strings.Replace(sdxl, `"seed":7`, `"seed":18446744073709551615`, 1))
	draw(strings.Replace(sdxl, "lighthouse", "castle", 1))
	writePNG(t, filepath.Join(s.InputDir(), "black.png"), 64, 48)
	draw(strings.Replace(sdxl, `"4":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":48,"batch_size":1}}`,
		`"7":{"class_type":"LoadImage","inputs":{"image":"black.png"}},"4":{"class_type":"VAEEncode","inputs":{"pixels":["7",0],"vae":["1",2]}}`, 1))
	if len(sums) != 4 {
		t.Errorf("four different prompts drew %d pictures", len(sums))
	}
}
