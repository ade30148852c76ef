package runpod

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// A result whose file lies on a volume that stalls keeps nobody else waiting:
// jobs are admitted, and heartbeats know them.
func TestFault_Z8_RememberingAStalledResult(t *testing.T) {
	m := newMemory(Config{KeepJobs: 3, KeepFor: time.Hour, KeepResult: 100, KeepTotal: 100, SpoolDir: t.TempDir()})
	read, write := io.Pipe()
	asked := make(chan struct{})
	stalled := payload.Raw(job.Content{Size: 5, Open: func() (io.ReadCloser, error) { close(asked); return read, nil }})
	done := make(chan struct{})
	go func() { defer close(done); m.put("slow", stalled, time.Now()) }()
	<-asked
	m.put("quick", payload.Raw(job.Content{Size: 2, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("ab")), nil }}), time.Now())
	if got := string(m.find("quick", time.Now())); got != "ab" {
		t.Errorf("meanwhile %q was found", got)
	}
	m.forget("quick")
	if _, err := write.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	<-done
	if got := string(m.find("slow", time.Now())); got != "hello" {
		t.Errorf("after the stall %q was found", got)
	}
}
