package volume

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is far more than any of these calls takes.
const patience = time.Minute

// tree makes a volume with files of the given sizes; a name that ends in a slash
// is a directory, and one with an arrow in it a link.
func tree(t *testing.T, files map[string]int64) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range files {
		name, target, link := strings.Cut(name, "->")
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case link:
			err = os.Symlink(filepath.Join(dir, target), path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			if err = os.WriteFile(path, nil, 0o644); err == nil {
				err = os.Truncate(path, size) // takes no room
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindAndPaths(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]int64
		want  string // the file, with VOL for the volume
	}{
		{"nothing", nil, "{}\n"},
		{"other things", map[string]int64{"a.txt": 1, "stuff/b": 1, "models/readme.txt": 1}, "{}\n"},
		{"the right place", map[string]int64{"models/checkpoints/a.safetensors": 1, "models/loras/": 0, "models/.cache/": 0, "models/custom_nodes/": 0}, `
  "checkpoints": "VOL/models/checkpoints"
  "loras": "VOL/models/loras"
`},
		{"a custom node's folder", map[string]int64{"models/ipadapter/": 0}, `
  "ipadapter": "VOL/models/ipadapter"
`},
		{"every place at once", map[string]int64{"models/vae/": 0, "ComfyUI/models/vae/": 0, "models/models/vae/": 0, "vae/": 0, "stuff/": 0}, `
  "vae": "VOL/models/vae\nVOL/ComfyUI/models/vae\nVOL/models/models/vae\nVOL/vae"
`},
		{"names of other programs", map[string]int64{"models/Stable-diffusion/": 0, "models/VAE/": 0, "models/t2i_adapter/": 0}, `
  "Stable-diffusion": "VOL/models/Stable-diffusion"
  "VAE": "VOL/models/VAE"
  "checkpoints": "VOL/models/Stable-diffusion"
  "controlnet": "VOL/models/t2i_adapter"
  "vae": "VOL/models/VAE"
`},
		{"links", map[string]int64{"real/": 0, "models/loras->real": 0, "models/vae->gone": 0}, `
  "loras": "VOL/models/loras"
`},
		{"names that would break the file", map[string]int64{"models/a\nb: c/": 0, "models/$HOME/": 0, "models/a: b/": 0}, "{}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			places, err := Find(dir, patience)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want[0] == '\n' {
				want = "# Written by comfyvisor at its start, from what was on the volume.\ncomfyvisor:" + want
			}
			if diff := cmp.Diff(want, strings.ReplaceAll(string(Paths(places)), dir, "VOL")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindNeedsAVolume(t *testing.T) {
	if _, err := Find(filepath.Join(t.TempDir(), "gone"), patience); err == nil || !strings.Contains(err.Error(), "look for models on") {
		t.Errorf("without a volume: %v", err)
	}
}

// The report tells of each file that matters whether ComfyUI will list it.
func TestLook(t *testing.T) {
	const gb = 1 << 30
	dir := tree(t, map[string]int64{
		"models/checkpoints/big.safetensors":      6 * gb,
		"models/checkpoints/sub/Small.CKPT":       gb,
		"models/checkpoints/pointer.safetensors":  134,
		"models/checkpoints/flux.gguf":            gb,
		"models/checkpoints/half.safetensors.tmp": gb,
		"models/checkpoints/pack.zip":             10,
		"models/checkpoints/noext":                gb,
		"models/checkpoints/odd.onnx":             gb,
		"models/checkpoints/preview.png":          2 << 20,
		"models/checkpoints/README.md":            100,
		"models/checkpoints/.git/objects/x.bin":   gb,
		"models/checkpoints/gone.pt->nowhere":     0,
		"models/loras/":                           0,
		"models/ipadapter/model.onnx":             gb,
		"models/configs/v1.yaml":                  100,
		"models/lost.safetensors":                 gb,
		"ComfyUI/models/vae/a.pt":                 gb,
	})
	r := Look(dir, patience)
	folders := make(map[string]int)
	for _, f := range r.Folders {
		folders[strings.TrimPrefix(f.Dir, dir)] = f.Count
	}
	if diff := cmp.Diff(map[string]int{"/models/checkpoints": 3, "/models/loras": 0, "/models/ipadapter": 1, "/models/configs": 1, "/ComfyUI/models/vae": 1}, folders); diff != "" {
		t.Errorf("folders (-want +got):\n%s", diff)
	}
	ignored := make(map[string]string)
	for _, i := range r.Ignored {
		ignored[strings.TrimPrefix(i.Path, dir+"/models/")] = i.Why
	}
	for name, why := range map[string]string{
		"checkpoints/pointer.safetensors":  "too small",
		"checkpoints/flux.gguf":            "GGUF",
		"checkpoints/half.safetensors.tmp": "not finished",
		"checkpoints/pack.zip":             "unpacked",
		"checkpoints/noext":                "no extension",
		"checkpoints/odd.onnx":             "does not list .onnx",
		"checkpoints/gone.pt":              "leads nowhere",
		"lost.safetensors":                 "in no folder",
	} {
		if !strings.Contains(ignored[name], why) {
			t.Errorf("%s: %q, want %q", name, ignored[name], why)
		}
		delete(ignored, name)
	}
	if len(ignored) > 0 {
		t.Errorf("of no use without a reason to say so: %v", ignored)
	}
	if !r.There || r.Size == 0 || r.Cut != "" {
		t.Errorf("report: %+v", r)
	}
	text := strings.Join(r.Lines(), "\n")
	for _, want := range []string{`"big.safetensors", 6.4 GB`, `"sub/Small.CKPT"`, "/models/checkpoints: 3 files, 7.5 GB", "likely mistake: models lie in " + dir + "/ComfyUI/models", "plain folder of the container"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

func TestLookNamesMistakes(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]int64
		want  string
	}{
		{"nothing there", map[string]int64{"stuff/": 0}, `there are no models: put them into VOL/models/checkpoints, VOL/models/loras and so on; what is there: "stuff"`},
		{"nested", map[string]int64{"models/models/vae/a.pt": 5000}, "models lie in VOL/models/models, one models too deep: move them up to VOL/models, or"},
		{"in the root", map[string]int64{"loras/a.pt": 5000}, "models lie in VOL; the usual model path file leads to VOL/models: move them there, or"},
		{"another program's", map[string]int64{"models/Lora/a.pt": 5000}, "VOL/models/Lora: ComfyUI looks for such models in a folder named loras"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			got := strings.ReplaceAll(strings.Join(Look(dir, patience).Mistakes, "\n"), dir, "VOL")
			if !strings.Contains(got, tt.want) {
				t.Errorf("mistakes:\n%s\nwant %q", got, tt.want)
			}
		})
	}
	gone := Look("/no/such/volume", patience)
	if gone.There || len(gone.Mistakes) != 1 || !strings.Contains(gone.Mistakes[0], "RUNPOD_VOLUME_PATH") {
		t.Errorf("a volume that is not there: %+v", gone)
	}
}

// The walk ends after a number of files, and says so.
func TestLookIsBounded(t *testing.T) {
	dir := tree(t, map[string]int64{"models/checkpoints/a.safetensors": 5000})
	for i := range maxEntries {
		if err := os.Link(filepath.Join(dir, "models/checkpoints/a.safetensors"), filepath.Join(dir, "models/checkpoints", string(rune('a'+i%26))+strings.Repeat("x", i/26%50)+time.Duration(i).String()+".pt")); err != nil {
			t.Fatal(err)
		}
	}
	r := Look(dir, patience)
	if !strings.Contains(r.Cut, "more than 20000") || len(r.Folders) != 1 || r.Folders[0].Count < maxEntries-10 || len(r.Folders[0].Files) != maxListed {
		t.Errorf("cut %q, %d folders", r.Cut, len(r.Folders))
	}
	if late := Look(dir, 0); late.Cut == "" {
		t.Errorf("without any time all was looked at: %+v", late)
	}
}

// A call that stands still is left behind.
func TestWithin(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	_, err := within(time.Millisecond, func() (int, error) { <-release; return 1, nil })
	if !errors.Is(err, errSlow) {
		t.Errorf("a call that does not return: %v", err)
	}
	if _, err := within(patience, func() (int, error) { panic("oh") }); err == nil || err.Error() != "panic: oh" {
		t.Errorf("one that panics: %v", err)
	}
	if n, err := within(patience, func() (int, error) { return 1, nil }); n != 1 || err != nil {
		t.Errorf("one that does: %d, %v", n, err)
	}
}

func TestKindsAreSortedAndWhole(t *testing.T) {
	if !slices.IsSorted(kinds) {
		t.Error("kinds are out of order")
	}
	for name, kind := range misnamed {
		if !known(kind) || known(name) || name != strings.ToLower(name) {
			t.Errorf("misnamed has %q for %q", name, kind)
		}
	}
}
