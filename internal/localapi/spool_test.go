package localapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

func resultsIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, resultFiles))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func bodyOf(t *testing.T, r job.Result) *payload.Body {
	t.Helper()
	b, err := payload.Output(r.Output, r.Timings)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestResultsAreFilesForTheOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	a := serve(t, Config{SpoolDir: dir})
	id := a.submitJob()
	a.takeOne()
	a.done(image(id, 1000))
	files := resultsIn(t, dir)
	if len(files) != 1 {
		t.Fatalf("files = %v, want one", files)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	_ = a.stop()
	if left := resultsIn(t, dir); len(left) != 1 {
		t.Errorf("files after Run: %v, want the result for the next start", left)
	}
}

func TestStartRemovesResultsThatNobodyKnows(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"result-old.json", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, Config{SpoolDir: dir})
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error(err)
	}
	if left := resultsIn(t, dir); len(left) != 0 {
		t.Errorf("results = %v, want none", left)
	}
}

func TestLargeResultsDoNotGrowMemory(t *testing.T) {
	const bound = 10 * megabyte
	tests := []struct {
		name string
		dir  string
		size int64
		flat bool
	}{
		{"in files", t.TempDir(), 38 * megabyte, true}, // 50 MB in base64
		// The twin shows that the measurement sees a result kept in memory.
		{"in memory", "", 12 * megabyte, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := serve(t, Config{SpoolDir: tt.dir})
			id := a.submitJob()
			a.takeOne()
			before := allocated()
			a.done(image(id, tt.size))
			resp, err := a.client.Get(a.url + "/status/" + id)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil || n != resp.ContentLength || n < tt.size/3*4 {
				t.Errorf("read %d of %d bytes, %v", n, resp.ContentLength, err)
			}
			if grown := allocated() - before; (grown < bound) != tt.flat {
				t.Errorf("allocated %d KB for a result of %d KB", grown/kilobyte, n/kilobyte)
			}
		})
	}
}

// allocated is the memory that was ever asked for, which no collection hides.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestResultIsReadToItsEndWhileItIsRemoved(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir, Keep: Keep{Jobs: 1}})
	id := a.submitJob()
	a.takeOne()
	a.done(image(id, 12*megabyte)) // more than the sockets' buffers hold

	resp, err := a.client.Get(a.url + "/status/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	old := resultsIn(t, dir)
	next := a.submitJob()
	a.takeOne()
	a.done(image(next, 1))
	if _, err := os.Stat(old[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file is still there: %v", err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != resp.ContentLength {
		t.Errorf("read %d of %d bytes, %v", n, resp.ContentLength, err)
	}
	a.want(http.StatusGone, "GET", "/status/"+id, "")
}

func TestManyClientsReadOneResult(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	id := a.submitJob()
	a.takeOne()
	a.done(image(id, megabyte))
	want := a.send("GET", "/status/"+id, "").body
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			got, err := a.try("GET", "/status/"+id, "")
			if err != nil || !bytes.Equal(got.body, want) {
				t.Errorf("client got %d bytes, %v, want %d", len(got.body), err, len(want))
			}
		})
	}
	clients.Wait()
}

func TestResultsStayInMemoryWithoutFiles(t *testing.T) {
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := t.TempDir()
	tests := []struct {
		name, dir string
		warnings  int
	}{
		{"no directory, which was told before", "", 0},
		{"not a directory", taken, 1},
		{"directory removed later", gone, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			core, logged := observer.New(zapcore.WarnLevel)
			s := newSpool(tt.dir, Config{}.withDefaults().Keep, zap.New(core))
			_ = os.Remove(gone)
			for range 3 {
				d, err := s.put(t.Context(), bodyOf(t, image("x", 3)))
				if err != nil || d.onDisk() || !strings.Contains(string(d.text), "AAAA") {
					t.Fatalf("put = %+v, %v, want it in memory", d, err)
				}
			}
			if n := logged.Len(); n != tt.warnings {
				t.Errorf("warned %d times, want %d", n, tt.warnings)
			}
		})
	}
}

func TestResultThatCannotBeKeptFailsTheJob(t *testing.T) {
	unreadable := image("", 10)
	unreadable.Output.Files[0].Content.Open = func() (io.ReadCloser, error) { return nil, errors.New("disk on fire") }
	grown := image("", 10)
	grown.Output.Files[0].Content.Size = 9
	tests := []struct {
		name, cause string
		result      job.Result
	}{
		{"unreadable file", "output_fetch_failed", unreadable},
		{"file that grows", "output_fetch_failed", grown},
		{"larger than what is kept", "result_too_large", image("", megabyte)},
	}
	for _, tt := range tests {
		for _, dir := range []string{"", t.TempDir()} {
			t.Run(tt.name+" in "+filepath.Base(dir), func(t *testing.T) {
				a := serve(t, Config{SpoolDir: dir, Keep: Keep{Memory: 100 * kilobyte, Disk: 100 * kilobyte}})
				id := a.submitJob()
				a.takeOne()
				tt.result.ID = id
				if err := a.Done(t.Context(), tt.result); err == nil {
					t.Error("Done = nil, want an error")
				}
				got := a.want(http.StatusOK, "GET", "/status/"+id, "").job(t)
				if got.Status != failed || got.Error == "" || !strings.Contains(string(got.Output), tt.cause) {
					t.Errorf("job = %+v, output %s, want FAILED with cause %s", got, got.Output, tt.cause)
				}
				if dir != "" && len(resultsIn(t, dir)) != 0 {
					t.Errorf("files left: %v", resultsIn(t, dir))
				}
			})
		}
	}
}

func TestDoneEndsWithItsContext(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	id := a.submitJob()
	a.takeOne()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Done(ctx, image(id, megabyte)); !errors.Is(err, context.Canceled) {
		t.Errorf("Done = %v, want %v", err, context.Canceled)
	}
	if got := a.stateOf(id); got != failed {
		t.Errorf("state = %s, want FAILED", got)
	}
}
