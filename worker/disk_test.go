package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

func TestShortage(t *testing.T) {
	const want = 1000
	tests := []struct {
		name string
		free space
		says string // "" if there is room
	}{
		{"room", space{1000, wantedInodes}, ""},
		{"too few bytes", space{999, wantedInodes}, "/out has 0.0 MB free (999 bytes), 0.0 MB are wanted (MIN_FREE_MB)"},
		{"no byte", space{0, -1}, "(0 bytes)"},
		{"too few inodes", space{1000, 3}, "/out has inodes for 3 more files, 64 are wanted"},
		{"both", space{0, 0}, "(0 bytes)"},
		{"not counted", space{-1, -1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.free.shortage("/out", want)
			if (err != nil) != (tt.says != "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("shortage of %+v = %v, want %q", tt.free, err, tt.says)
			}
		})
	}
}

// A node whose file cannot be written for want of space, inodes or quota fails the job as disk_full, which may be tried again; other errors of the system do not.
func TestFault_Z4_NodeThatCannotWrite(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	tests := []struct{ raised, message, cause string }{
		{"OSError", "[Errno 28] No space left on device: '/comfyui/output/a.png'", CauseDisk},
		{"OSError", "[Errno 122] Disk quota exceeded", CauseDisk},
		{"OSError", "[Errno 2] No such file or directory: 'a.png'", CauseNode}, // a third full disk in a row would let the pod rest
		{"safetensors_rust.SafetensorError", `Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })`, CauseDisk},
		{"ValueError", "latent has no space dimension", CauseNode},
	}
	for i, tt := range tests {
		t.Run(tt.message, func(t *testing.T) {
			d := p.do(fmt.Sprint("raise-", i), simulated("SimRaise", fmt.Sprintf(`{"exception_type":%q,"message":%q}`, tt.raised, tt.message)))
			d.wantCause(t, tt.cause)
			if full := tt.cause == CauseDisk; d.Failure.Retryable != full || (d.Failure.Kind == KindComfyUI) != full {
				t.Errorf("failure = %+v", d.Failure)
			}
		})
	}
}

// What a comfyvisor that was killed left of its attempt at a job is not told as an output of the next one's, which has the same name.
func TestFault_R6_OutputsOfAKilledAttempt(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	left := filepath.Join(p.slot.OutputDir, newAttempt("again", 1).folder)
	if err := errors.Join(os.MkdirAll(left, 0o755), os.WriteFile(filepath.Join(left, "ComfyUI_00001_.bin"), []byte("half"), 0o644)); err != nil {
		t.Fatal(err)
	}
	d := p.do("again", simulated("SimFiles", `{"count":1,"bytes":10,"filename_prefix":"ComfyUI"}`))
	if d.Failure != nil || len(d.Output.Files) != 1 || d.Output.Files[0].Content.Size != 10 {
		t.Errorf("delivered %+v, %+v; want one file of 10 bytes", d.Output, d.Failure)
	}
}

// What ComfyUI and the worker call their files is what the guard takes for its own.
func TestNamesOfAnAttemptAreOurs(t *testing.T) {
	a := newAttempt("any job", 2)
	if !folderOfOurs.MatchString(comfy.PromptID("any job", 2)) || !folderOfOurs.MatchString(filepath.Base(a.folder)) {
		t.Errorf("folder %s is not taken for ours", a.folder)
	}
	if got := inputOfOurs.FindString(a.prefix + "in.png"); got != a.prefix {
		t.Errorf("prefix %q is taken for %q", a.prefix, got)
	}
}

// A prompt that was run although its submission was refused, and is nowhere to be found,
// is submitted again. What the first run saved is not delivered beside the files of the
// second, which may be cached and have none of its own.
func TestOutputsOfAnUnknownRunAreNotDelivered(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		for _, sim.NoCache = range []bool{true, false} {
			sim.Faults = comfytest.Faults{
				{On: "POST /prompt", Do: "ran", Status: 500, Count: 1},
				{On: "prompt", Do: "no-history", Count: 1},
			}
			p := startPod(t, sim, nil)
			p.do("a", simulated("SimFiles", `{"count":2,"bytes":10,"filename_prefix":"x","seed":1}`)).wantOutput(t, 2)
			if n := len(p.comfy.Executions()); n != 2 {
				t.Errorf("%d executions, want both: the test proves nothing", n)
			}
		}
	})
}
