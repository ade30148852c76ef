package s3store

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// A large file goes in parts while the heap stays as it is.
func TestLargeFileTakesNoMemory(t *testing.T) {
	gw := s3test.Start(t)
	const size = 50 << 20
	path := filepath.Join(t.TempDir(), "video.mp4")
	data := randomBytes(size)
	want := sha256.Sum256(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	data = nil
	s := gatewayStore(t, gw, gw.Addr, func(c *Config) { c.WholeSize, c.PartSize = 16<<20, 8<<20 })

	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	file := job.File{Filename: "video.mp4", Content: job.Content{Size: size, Open: func() (io.ReadCloser, error) {
		f, err := os.Open(path)
		return &heapWatcher{File: f, peak: &peak}, err
	}}}
	if _, err := s.Put(t.Context(), "large", 0, file); err != nil {
		t.Fatal(err)
	}
	if grown := int64(peak.Load()) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d MiB for a file of 50 MiB", grown>>20)
	}
	got, err := os.ReadFile(gw.Path(s.keys.key(time.Now(), "large", 0, file)))
	if err != nil || sha256.Sum256(got) != want {
		t.Errorf("the stored object differs from the file: %d bytes, %v", len(got), err)
	}
	if n := openUploads(t, s); n != 0 {
		t.Errorf("%d uploads are left open", n)
	}
}

// heapWatcher keeps the largest heap that was seen while a file was read.
type heapWatcher struct {
	*os.File
	peak  *atomic.Uint64
	reads int
}

func (w *heapWatcher) Read(p []byte) (int, error) {
	if w.reads++; w.reads%32 == 0 {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		for {
			peak := w.peak.Load()
			if now.HeapAlloc <= peak || w.peak.CompareAndSwap(peak, now.HeapAlloc) {
				break
			}
		}
	}
	return w.File.Read(p)
}
