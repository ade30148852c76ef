package gpuerror

import (
	"encoding/json"
	"os"
	"testing"
)

// measured is what an H100 (driver 580.159.04, PyTorch 2.11.0 with CUDA 13.0) said
// to faults made on purpose, and whether the process could use its GPU afterwards.
// make gpu-test makes it again.
type measured struct {
	Exceptions []struct {
		ID, Type, Message string
		Poisoned          bool
	}
	Lines  []string // of the processes that were poisoned by an assertion
	Kernel []string // about poisoned processes
}

// A process is replaced where it was of no more use, and only there.
func TestVerdictsAgreeWithAGPU(t *testing.T) {
	text, err := os.ReadFile("testdata/h100.json")
	if err != nil {
		t.Fatal(err)
	}
	var m measured
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Exceptions) < 20 || len(m.Lines) == 0 || len(m.Kernel) == 0 {
		t.Fatalf("%d exceptions, %d lines and %d lines of the kernel", len(m.Exceptions), len(m.Lines), len(m.Kernel))
	}
	for _, e := range m.Exceptions {
		if f := Exception(e.Type, e.Message); (f.Verdict >= Restart) != e.Poisoned {
			t.Errorf("%s: %s, and poisoned is %t: %s: %s", e.ID, f.Verdict, e.Poisoned, e.Type, e.Message)
		}
	}
	for _, line := range m.Lines {
		if f := ProcessLine(line); f.Verdict != Restart || !f.Raises() {
			t.Errorf("%s, followed by an exception: %t: %s", f.Verdict, f.Raises(), line)
		}
	}
	for _, line := range m.Kernel {
		if f := KernelLine(line, nil); f.Verdict != Restart {
			t.Errorf("%s: %s", f.Verdict, line)
		}
	}
}
