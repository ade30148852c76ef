package worker

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
)

// urls judges URLs as a worker does by default. It asks nobody.
var urls = fetch.New(fetch.Config{MaxBytes: 1e9})

const graph = `{"9":{"class_type":"SaveImage","inputs":{"images":["8",0],"filename_prefix":"ComfyUI"}}}`

func TestParseInputAccepts(t *testing.T) {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	tests := []struct {
		name, input string
		images      []string
		key         string
	}{
		{"the least", `{"workflow":` + graph + `}`, nil, ""},
		{"a string that holds the input", quote(`{"workflow":` + graph + `}`), nil, ""},
		{"a string that holds the workflow", `{"workflow":` + quote(graph) + `}`, nil, ""},
		{"images null", `{"workflow":` + graph + `,"images":null}`, nil, ""},
		{"images", `{"workflow":` + graph + `,"images":[{"name":"a.png","image":"aGk="},{"name":"b.png","image":"aG8="}]}`, []string{"hi", "ho"}, ""},
		{"files", `{"workflow":` + graph + `,"files":[{"name":"a.mp4","data":"aGk="},{"name":"b.wav","data":"data:audio/wav;base64,aG8="}]}`, []string{"hi", "ho"}, ""},
		{"images and files", `{"workflow":` + graph + `,"files":[{"name":"a.mp4","data":"aG8="}],"images":[{"name":"a.png","image":"aGk="}]}`, []string{"hi", "ho"}, ""},
		{"unknown fields of a file", `{"workflow":` + graph + `,"images":[{"name":"a.png","image":"aGk=","width":64}]}`, []string{"hi"}, ""},
		{"unknown fields", `{"workflow":` + graph + `,"client_id":"x","front":true}`, nil, ""},
		{"documented key", `{"workflow":` + graph + `,"api_key_comfy_org":"k1"}`, nil, "k1"},
		{"key that clients send", `{"workflow":` + graph + `,"comfy_org_api_key":"k2"}`, nil, "k2"},
		{"both keys: the documented one", `{"workflow":` + graph + `,"comfy_org_api_key":"k2","api_key_comfy_org":"k1"}`, nil, "k1"},
		{"null key", `{"workflow":` + graph + `,"api_key_comfy_org":null,"comfy_org_api_key":"k2"}`, nil, "k2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, failure := parseInput(json.RawMessage(tt.input), urls)
			if failure != nil {
				t.Fatal(failure)
			}
			if in.workflow["9"].class != "SaveImage" {
				t.Errorf("workflow = %v", in.workflow)
			}
			if in.apiKey != tt.key {
				t.Errorf("key = %q, want %q", in.apiKey, tt.key)
			}
			var got []string
			for _, img := range in.files {
				r, err := img.content.Open()
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r)
				if err != nil || int64(len(b)) != img.content.Size {
					t.Errorf("%s: %d bytes, size told %d: %v", img.name, len(b), img.content.Size, err)
				}
				got = append(got, string(b))
			}
			if diff := cmp.Diff(tt.images, got); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

// A bad input is refused at once, in words that say what to send instead.
func TestFault_V6_BadInputIsExplained(t *testing.T) {
	withFiles := func(files string) string { return `{"workflow":` + graph + `,"files":` + files + `}` }
	withImages := func(images string) string { return `{"workflow":` + graph + `,"images":` + images + `}` }
	tests := []struct {
		name, input string
		want        []string
	}{
		{"nothing", ``, []string{"no input"}},
		{"null", `null`, []string{"no input"}},
		{"a number", `7`, []string{"not a JSON object", "number"}},
		{"a list", `[]`, []string{"not a JSON object", "array"}},
		{"text", `"hello"`, []string{"no JSON"}},
		{"a string that holds null", `"null"`, []string{"null"}},
		{"no workflow", `{}`, []string{"input.workflow is missing", "Export (API)"}},
		{"workflow is a list", `{"workflow":[]}`, []string{"not an object of nodes", "array"}},
		{"workflow is text", `{"workflow":"{"}`, []string{"a string that holds no workflow"}},
		{"workflow is empty", `{"workflow":{}}`, []string{"no nodes"}},
		{"the editor's format", `{"workflow":{"last_node_id":9,"nodes":[],"links":[],"version":0.4}}`, []string{"editor", "Export (API)"}},
		{"a node is null", `{"workflow":{"3":null}}`, []string{`node "3"`, "not an object"}},
		{"a node without a class", `{"workflow":{"3":{"inputs":{}}}}`, []string{`node "3"`, "class_type"}},
		{"a node with a list of inputs", `{"workflow":{"3":{"class_type":"A","inputs":[]}}}`, []string{`node "3"`, "inputs"}},
		{"images are no list", withImages(`{}`), []string{"input.images", "list"}},
		{"an image without a name", withImages(`[{"image":"aGk="}]`), []string{"input.images[0]", "name"}},
		{"an image without data", withImages(`[{"name":"a.png"}]`), []string{"input.images[0]", "name"}},
		{"an image that is a number", withImages(`[{"name":"a.png","image":7}]`), []string{"input.images", "number"}},
		{"the same name twice", withImages(`[{"name":"a.png","image":"aGk="},{"name":"a.png","image":"aGk="}]`), []string{"input.images[1]", "input.images[0]"}},
		{"neither data nor url", withFiles(`[{"name":"a.mp4"}]`), []string{"input.files[0]", "lacks both data and url"}},
		{"both data and url", withFiles(`[{"name":"a.mp4","data":"aGk=","url":"https://example.com/a.mp4"}]`), []string{"input.files[0]", "both data and url"}},
		{"data under the key of the other list", withFiles(`[{"name":"a.mp4","image":"aGk="}]`), []string{"input.files[0]", "lacks both data and url"}},
		{"a URL as data", withImages(`[{"name":"a.png","image":"https://example.com/a.png"}]`), []string{"input.images[0].image", `send it as "url"`}},
		{"a URL without a name", withFiles(`[{"url":"https://example.com/"}]`), []string{"input.files[0]", "lacks a name", `"" is no file name`}},
		{"a URL of another scheme", withFiles(`[{"url":"file:///etc/passwd"}]`), []string{"input.files[0].url", "http://"}},
		{"a private URL", withImages(`[{"url":"http://10.0.0.1/a.png"}]`), []string{"input.images[0].url", "10.0.0.1", "ALLOW_PRIVATE_URLS"}},
		{"the same name in both lists", `{"workflow":` + graph + `,"images":[{"name":"a","image":"aGk="}],"files":[{"url":"https://example.com/x/a"}]}`, []string{"input.files[0]", "input.images[0]"}},
		{"every fault of every file", withFiles(`[{"name":"../a","data":"*"},{"name":"b"},{"url":"ftp://x/c"}]`),
			[]string{"input.files[0].name", "input.files[0].data", "input.files[1] lacks", "input.files[2].url"}},
		{"too many", withFiles(`[` + strings.Repeat(`{"data":"aGk="},`, 64) + `{}]`), []string{"65 files", "at most 64"}},
		{"no base64", withImages(`[{"name":"a.png","image":"a*b="}]`), []string{"input.images[0].image", `'*'`, "character 1"}},
		{"cut base64", withImages(`[{"name":"a.png","image":"aGkxx"}]`), []string{"middle of a byte"}},
		{"empty image", withImages(`[{"name":"a.png","image":""}]`), []string{"empty"}},
		{"bad data URI", withImages(`[{"name":"a.png","image":"data:image/png,abc"}]`), []string{"data URI"}},
		{"key is a number", `{"workflow":` + graph + `,"api_key_comfy_org":7}`, []string{"input.api_key_comfy_org"}},
		{"all faults at once", `{"images":{},"comfy_org_api_key":[]}`, []string{"input.workflow", "input.images", "input.comfy_org_api_key"}},
		{"too deep", `{"workflow":` + strings.Repeat(`{"a":`, 101) + `1` + strings.Repeat(`}`, 101) + `}`, []string{"deeper than 100"}},
		{"too many parts", `{"workflow":[` + strings.Repeat(`{},`, 200_001) + `{}]}`, []string{"more than 200000 parts"}},
		{"text after the value", `{} x`, []string{"no JSON"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, failure := parseInput(json.RawMessage(tt.input), urls)
			if failure == nil {
				t.Fatal("accepted")
			}
			if failure.Kind != KindInput || failure.Cause != CauseBadInput || failure.Retryable {
				t.Errorf("failure = %+v", failure)
			}
			for _, want := range tt.want {
				if !strings.Contains(failure.Message, want) {
					t.Errorf("message %q lacks %q", failure.Message, want)
				}
			}
		})
	}
}

// A name that would lead out of the input directory, or into another one, is
// refused and never turned into something else.
func TestFault_V1_ImageNames(t *testing.T) {
	bad := []string{
		"", ".", "..", "../a.png", "a/../b.png", "/etc/passwd", `a\b.png`, "a\x00.png", "a\n.png", "%2e%2e%2fa.png",
		"a.png.", "a.png ", " a.png", "-rf", ".hidden", "a.png [output]", "a.png[temp]", "x..png", "sub/a.png",
		strings.Repeat("n", 300) + ".png", "C:\\a.png",
	}
	for _, name := range bad {
		if err := checkName(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	for _, name := range []string{"a.png", "up (1).png", "ünïcode 图.webp", "a.b.c.jpg", "no_extension", "1"} {
		if err := checkName(name); err != nil {
			t.Errorf("%q was refused: %v", name, err)
		}
	}
}

// Base64 is taken in every form that clients send, and an image over the limit
// is refused before it is decoded.
func TestFault_V3_Base64Forms(t *testing.T) {
	raw := []byte("\xfb\xff\xfepicture bytes")
	std, url := base64.StdEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw)
	forms := map[string]string{
		"standard":          std,
		"without padding":   strings.TrimRight(std, "="),
		"url-safe":          url,
		"data URI":          "data:image/png;base64," + std,
		"data URI, charset": "data:image/png;charset=utf-8;base64," + std,
		"line breaks":       std[:10] + "\r\n" + std[10:] + "\n",
		"spaces":            " " + std[:5] + " " + std[5:],
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			content, err := decodeBase64(text)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := content.Open()
			got, err := io.ReadAll(r)
			if err != nil || string(got) != string(raw) || content.Size != int64(len(raw)) {
				t.Errorf("decoded %q (size told %d): %v", got, content.Size, err)
			}
		})
	}
	if _, err := decodeBase64(strings.Repeat("A", (maxBase64Bytes/3+1)*4)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("an image over the limit: %v", err)
	}
}

func FuzzParseInput(f *testing.F) {
	f.Add([]byte(`{"workflow":` + graph + `,"images":[{"name":"a.png","image":"aGk="}]}`))
	f.Add([]byte(`{"workflow":` + graph + `,"files":[{"url":"https://example.com/a.mp4?x=1"},{"name":"b","data":"_-8"}]}`))
	f.Add([]byte(`"{\"workflow\":{}}"`))
	f.Add([]byte(`{"workflow":{"nodes":[]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, failure := parseInput(raw, urls)
		if failure != nil {
			return
		}
		if _, err := in.workflow.forAttempt("f", map[string]string{"a.png": "b.png"}); err != nil {
			t.Errorf("an accepted workflow cannot be written: %v", err)
		}
		for _, img := range in.files {
			if err := checkName(img.name); err != nil {
				t.Errorf("an accepted file has a bad name: %v", err)
			}
			if img.url != nil {
				continue
			}
			r, _ := img.content.Open()
			if n, err := io.Copy(io.Discard, r); err != nil || n != img.content.Size {
				t.Errorf("an accepted image yields %d of %d bytes: %v", n, img.content.Size, err)
			}
		}
	})
}
