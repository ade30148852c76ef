package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/s3store"
	"github.com/comfyvisor/comfyvisor/internal/volume"
)

// expect compares a finding with a verdict and words of its text, its details and
// its advice.
func expect(t *testing.T, f Finding, verdict string, words ...string) {
	t.Helper()
	all := strings.Join(append([]string{f.Text, f.Advice}, f.Details...), "\n")
	if f.Verdict != verdict {
		t.Errorf("verdict %s, want %s: %+v", f.Verdict, verdict, f)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("nothing is said of %q: %+v", w, f)
		}
	}
	if f.Verdict == Fail && f.Advice == "" && f.Details == nil {
		t.Errorf("a failure without anything to do: %+v", f)
	}
}

// write makes files below a directory.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A check that hangs is given up, the others are not lost with it.
func TestRunGivesUpOnAHungCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		began := time.Now()
		findings := Run(t.Context(), time.Minute, []Check{
			{"hangs", func(context.Context) Finding { <-hung; return Finding{} }},
			{"heeds", func(ctx context.Context) Finding {
				<-ctx.Done()
				return Finding{Verdict: Fail, Text: "too slow", Advice: "wait"}
			}},
			{"good", func(context.Context) Finding { return Finding{Verdict: OK, Text: "well"} }},
		})
		if took := time.Since(began); took > time.Minute+2*time.Second {
			t.Errorf("it took %v", took)
		}
		expect(t, findings[0], Fail, "no answer within 1m0s")
		expect(t, findings[1], Fail, "too slow")
		expect(t, findings[2], OK, "well")
		if findings[0].Name != "hangs" || Healthy(findings) || !Healthy(findings[2:]) {
			t.Errorf("findings: %+v", findings)
		}
		close(hung)
	})
}

func TestWrite(t *testing.T) {
	findings := []Finding{
		{Name: "gpu", Verdict: OK, Text: "there"},
		{Name: "volume", Verdict: Fail, Text: "a\nb\x1b[2J", Details: []string{"one", "two\x07"}, Advice: "do this"},
	}
	var plain, coloured strings.Builder
	if err := errors.Join(Write(&plain, findings, false), Write(&coloured, findings, true)); err != nil {
		t.Fatal(err)
	}
	want := "ok    gpu     there\nfail  volume  a b[2J\n              one\n              two\n              -> do this\n"
	if plain.String() != want {
		t.Errorf("got\n%q, want\n%q", plain.String(), want)
	}
	if text := coloured.String(); !strings.HasPrefix(text, "\x1b[32mok  \x1b[0m  gpu") || strings.Count(text, "\x1b") != 4 {
		t.Errorf("with colour: %q", text)
	}
}

func TestGPU(t *testing.T) {
	host := func(driver string) health.GPU {
		return health.GPU{Root: write(t, t.TempDir(), map[string]string{
			"dev/nvidia0": "", "dev/nvidiactl": "", "dev/nvidia-uvm": "",
			"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  " + driver + "  Tue Mar\n",
		})}
	}
	tests := []struct {
		name    string
		gpu     GPU
		verdict string
		words   []string
	}{
		{"fits", GPU{host("560.35.03"), true, "12.6.3"}, OK, []string{"nvidia, driver 560.35.03, /dev/nvidia0, image for CUDA 12.6.3"}},
		{"newer", GPU{host("580.95.05"), true, "12.4.1"}, OK, nil},
		{"no release told", GPU{host("470.1"), true, ""}, OK, []string{"driver 470.1"}},
		{"same major release", GPU{host("550.54.15"), true, "12.6.3"}, Warn, []string{"CUDA 12.6 came with driver 560.28.03", "550.54.15"}},
		{"too old", GPU{host("470.256.02"), true, "12.6.3"}, Fail, []string{"CUDA 12 needs driver 525.60.13", "470.256.02"}},
		{"too old for 13", GPU{host("575.51.03"), true, "13.0.1"}, Fail, []string{"CUDA 13 needs driver 580.65.06"}},
		{"a release of the future", GPU{host("575.51.03"), true, "14.2"}, Fail, []string{"older than any for CUDA 14.2"}},
		{"none", GPU{health.GPU{Root: t.TempDir()}, true, "12.6"}, Fail, []string{"no usable GPU", "--gpus all"}},
		{"none wanted", GPU{health.GPU{Root: t.TempDir()}, false, "12.6"}, OK, []string{"runs on the CPU"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { expect(t, tt.gpu.Look(), tt.verdict, tt.words...) })
	}
}

func TestToolkitsAreInOrder(t *testing.T) {
	for i := 1; i < len(toolkits); i++ {
		if a, b := toolkits[i-1], toolkits[i]; older(b.cuda, a.cuda) || a.cuda != "11.8" && older(b.driver, a.driver) {
			t.Errorf("%v comes before %v", a, b)
		}
	}
}

func TestComfyUI(t *testing.T) {
	home := write(t, t.TempDir(), map[string]string{"main.py": "", "comfyui_version.py": "# made by a tool\n__version__ = \"0.3.64\"\n", "bin/python": "", "venv/python": ""})
	path := "/nowhere:" + filepath.Join(home, "bin")
	tests := []struct {
		name    string
		comfy   ComfyUI
		verdict string
		words   []string
	}{
		{"good", ComfyUI{home, []string{"python", home + "/main.py", "--port", "8188"}, path}, OK, []string{"0.3.64", "bin/python"}},
		{"below its home", ComfyUI{home, []string{"venv/python", "main.py"}, ""}, OK, []string{"venv/python"}},
		{"no home", ComfyUI{"/no/such/home", []string{"python"}, path}, Fail, []string{"COMFY_HOME=/no/such/home"}},
		{"no python", ComfyUI{home, []string{"python3", "main.py"}, path}, Fail, []string{"python3", "not found in PATH"}},
		{"no program", ComfyUI{home, []string{"python", "start.py"}, path}, Fail, []string{home + "/start.py is not there"}},
		{"not executable", ComfyUI{home, []string{"/dev/null"}, path}, Fail, []string{"not executable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { expect(t, tt.comfy.Look(), tt.verdict, tt.words...) })
	}
}

func TestPort(t *testing.T) {
	ctx := t.Context()
	says := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	expect(t, Port(ctx, 8188, says(nil)), OK, "ComfyUI answers on port 8188")
	expect(t, Port(ctx, 8188, says(fmt.Errorf("ask: %w", syscall.ECONNREFUSED))), OK, "is free")
	expect(t, Port(ctx, 8188, says(errors.New("404"))), Warn, "does not answer as ComfyUI does: 404", "COMFY_PORT")
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	expect(t, Disk{[]string{dir, dir + "/not/yet"}, 1}.Look(), OK, "2 directories", dir+"/not/yet: ")
	expect(t, Disk{[]string{dir}, 1 << 60}.Look(), Fail, "MIN_FREE_MB", dir)
	expect(t, Disk{[]string{"/proc/sys"}, 0}.Look(), Fail, "cannot be written to: /proc/sys")
}

func TestVolume(t *testing.T) {
	there := volume.Report{Path: "/v", There: true, Mounted: true, Size: 1, Folders: []volume.Folder{{Name: "vae", Dir: "/v/models/vae", Count: 3}}}
	wrong, cut := there, there
	wrong.Mistakes = []string{"it is upside down"}
	cut.Cut = "the volume does not answer within 5s"
	expect(t, Volume(volume.Report{Path: "/v"}, false, nil), OK, "none is mounted")
	expect(t, Volume(volume.Report{Path: "/v"}, true, nil), Fail, "/v is not there", "RUNPOD_VOLUME_PATH")
	expect(t, Volume(there, false, []string{"/a.yaml"}), OK, "/v: 3 models", "model path file in force: /a.yaml")
	expect(t, Volume(wrong, false, nil), Warn, "1 likely mistakes", "it is upside down")
	expect(t, Volume(cut, false, nil), Warn, "does not answer")
}

func TestBucket(t *testing.T) {
	no := errors.New("the store said no")
	expect(t, Bucket(s3store.Trial{Stored: no}), Fail, "could not be stored", "the store said no")
	expect(t, Bucket(s3store.Trial{Read: no}), Fail, "link", "the store said no")
	expect(t, Bucket(s3store.Trial{Key: "a/b", Removed: no}), Warn, "remove a/b yourself")
	expect(t, Bucket(s3store.Trial{}), OK)
}

// Hosts are connected to and told nothing; what is secret in a URL is not shown.
func TestReach(t *testing.T) {
	asked := func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }
	plain := httptest.NewServer(http.HandlerFunc(asked))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(asked))
	defer secure.Close()
	trusted := &tls.Config{RootCAs: x509.NewCertPool()}
	trusted.RootCAs.AddCert(secure.Certificate())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()

	const path = "/v2/e/job-take/$ID?key=canary"
	reach := func(config *tls.Config, urls ...string) Finding {
		named := make(map[string]string)
		for i, u := range urls {
			named[fmt.Sprint("URL", i)] = u + path
		}
		f := Reach(t.Context(), named, config)
		if strings.Contains(fmt.Sprint(f), "canary") {
			t.Errorf("the key is shown: %+v", f)
		}
		return f
	}
	expect(t, reach(nil, plain.URL, plain.URL), OK, "1 hosts", "as above")
	expect(t, reach(trusted, secure.URL), OK, secure.URL)
	expect(t, reach(nil, secure.URL), Fail, "TLS: ", "URL0")
	expect(t, reach(nil, plain.URL, closed), Fail, "cannot be reached: URL1", "connection refused")
	expect(t, reach(nil, "http://%zz"), Fail, "no URL")
}
