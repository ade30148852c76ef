package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// wantCause fails the test unless the job failed by cause and its error has all words.
func (a answer) wantCause(t *testing.T, cause string, words ...string) {
	t.Helper()
	if a.Status != "FAILED" || a.Output.Cause != cause || !hasAll(a.Error, words) {
		t.Errorf("answer = %+v, want it to fail by %s and tell %q", a, cause, words)
	}
}

// wantDone fails the test unless the job completed with an image.
func (a answer) wantDone(t *testing.T) {
	t.Helper()
	if a.Status != "COMPLETED" || len(a.Output.Images) == 0 {
		t.Errorf("answer = %+v, want it completed", a)
	}
}

// With less than MIN_FREE_MB free where outputs go, a job fails at once as disk_full, with the path and what is free and wanted, ComfyUI lives on, and the next job after space returns completes.
func TestFault_Z1_FullDiskIsNamed(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs output size=16m", with(local, "MIN_FREE_MB", "8"))
	p.waitReady()
	p.job(picture(1)).wantDone(t)

	p.put("output/of-somebody-else.bin", 12<<20)
	p.job(picture(2)).wantCause(t, "disk_full", p.dir+"/output has ", " free (", "8.0 MB are wanted", "MIN_FREE_MB")
	if n := len(p.executions()); n != 1 {
		t.Errorf("%d prompts were executed, want 1", n)
	}
	if err := os.Remove(p.inside("output/of-somebody-else.bin")); err != nil {
		t.Fatal(err)
	}
	p.job(picture(3)).wantDone(t)
	if n := strings.Count(p.log(), "process running"); n != 1 {
		t.Errorf("ComfyUI was started %d times", n)
	}
}

// The twin: with MIN_FREE_MB=0 nobody looks, and the job is given to ComfyUI.
func TestFault_Z1_TwinWithoutGuardRunsTheJob(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs output size=16m", with(local, "MIN_FREE_MB", "0"))
	p.waitReady()
	p.put("output/of-somebody-else.bin", 15<<20)
	p.job(files(1, 20<<20, 1)).wantCause(t, "disk_full", "no space left on device", "SimFiles")
	if n := len(p.executions()); n != 1 {
		t.Errorf("%d prompts were executed, want 1", n)
	}
}

// What an earlier comfyvisor left behind is removed when the disk is full, and nothing else: the job then runs.
func TestFault_Z1_LeftoversMakeRoom(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs output size=16m", with(local, "MIN_FREE_MB", "8"))
	p.waitReady()
	const leftover = "output/comfyvisor/01234567-89ab-5cde-8f01-23456789abcd"
	p.put(leftover+"/big.png", 10<<20)
	p.put("output/mine.png", 1<<20)
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(p.inside(leftover), old, old); err != nil {
		t.Fatal(err)
	}
	p.job(picture(1)).wantDone(t)
	p.waitLine("leftovers of earlier jobs removed", "MIN_FREE_MB")
	if _, err := os.Stat(p.inside(leftover)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
	if _, err := os.Stat(p.inside("output/mine.png")); err != nil {
		t.Errorf("somebody else's file is gone: %v", err)
	}
}

// A disk that gets full while a node writes fails that job as disk_full; what it wrote is removed, and the next job completes.
func TestFault_Z1_DiskFillsDuringTheJob(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs output size=16m", with(local, "MIN_FREE_MB", "8"))
	p.waitReady()
	p.job(files(1, 20<<20, 1)).wantCause(t, "disk_full", "no space left on device", "SimFiles")
	p.job(picture(2)).wantDone(t)
}

// comfyvisor itself works without a free byte: a result that finds no place in DATA_DIR is kept in memory, byte-equal.
func TestFault_Z1_NoByteForOurselves(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs data size=64k", local)
	p.waitReady()
	p.put("data/ballast", 0)
	if err := fill(p.inside("data/ballast")); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p.job(picture(i)).wantDone(t)
	}
	id := p.submit(files(1, 1<<20, 7))
	if got, want := p.streamed(id), written(p.executions())[0]; got != want {
		t.Errorf("image has hash %s, want %s", got, want)
	}
	p.waitLine("keeping results in memory", "no space left on device")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// fill writes a file until its filesystem is full.
func fill(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 512)); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

// Without inodes a job fails at once as disk_full in words of its own, and the next job after they return completes.
func TestFault_Z4_NoInodes(t *testing.T) {
	t.Parallel()
	p := mounted(t, "tmpfs output size=64m,nr_inodes=100", with(local, "MIN_FREE_MB", "8"))
	p.waitReady()
	p.job(picture(1)).wantDone(t)
	for i := range 60 {
		p.put(fmt.Sprint("output/small-", i), 1)
	}
	p.job(picture(2)).wantCause(t, "disk_full", p.dir+"/output has inodes for ", "64 are wanted")
	for i := range 60 {
		if err := os.Remove(p.inside(fmt.Sprint("output/small-", i))); err != nil {
			t.Fatal(err)
		}
	}
	p.job(picture(3)).wantDone(t)
}

// With a read-only root, no writable /tmp and no HOME, comfyvisor starts, runs a job and stops, whether or not DATA_DIR can be written to.
func TestFault_Z2_ReadOnlyRoot(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"data directory":    with(local, "HOME", ""),
		"no data directory": with(local, "HOME", "", "DATA_DIR", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mounted(t, "only .", env)
			p.waitReady()
			p.job(picture(1)).wantDone(t)
			if err := os.WriteFile(p.inside("../probe"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
				t.Errorf("writing outside of the directory = %v, want %v", err, syscall.EROFS)
			}
			p.signal(syscall.SIGTERM)
			if code := p.exit(); code != exitDone {
				t.Errorf("exit code = %d, want %d", code, exitDone)
			}
			if runs := p.executions(); len(runs) != 1 || runs[0].Outcome != comfytest.Success {
				t.Errorf("executions = %+v", runs)
			}
		})
	}
}
