package worker

import (
	"context"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A scarceStore cannot open the first files that it is to store.
type scarceStore struct{ left *atomic.Int64 }

func (s scarceStore) Put(_ context.Context, _ string, _ int, f job.File) (job.File, error) {
	if s.left.Add(-1) >= 0 {
		return f, &fs.PathError{Op: "open", Path: f.Filename, Err: syscall.EMFILE}
	}
	f.URL = "https://bucket/" + f.Filename
	return f, nil
}

// Files that cannot be opened for S3 because file descriptors have run out are stored when there are some again, and their job completes.
func TestFault_Z3_FilesWaitForDescriptors(t *testing.T) {
	left := new(atomic.Int64)
	left.Store(3)
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Store = scarceStore{left} })
	p.do("a", simulated("SimFiles", `{"count":2,"bytes":10,"filename_prefix":"x"}`)).wantOutput(t, 2)
}
