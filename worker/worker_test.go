package worker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// picture is a job that paints a plain image.
func picture(colour int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":%d}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"ComfyUI"}}}}`, colour)
}

// simulated is a job of one node of the simulator, and an output of its own.
func simulated(class, inputs string) string {
	return fmt.Sprintf(`{"workflow":{"7":{"class_type":%q,"inputs":%s}}}`, class, inputs)
}

// die is a job whose node ends the process.
func die(how string) string { return simulated("SimDie", fmt.Sprintf(`{"how":%q}`, how)) }

// both runs a test against both generations of ComfyUI.
func both(t *testing.T, test func(t *testing.T, sim comfytest.Config)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, comfytest.Config{Version: version})
		})
	}
}

func TestJobRunsFromInputToResult(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		red := base64.StdEncoding.EncodeToString(pngOf(t, p))
		d := p.do("job-1", `{"workflow":{
			"1":{"class_type":"LoadImage","inputs":{"image":"in.png"}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"sub/ComfyUI"}},
			"3":{"class_type":"PreviewImage","inputs":{"images":["1",0]}},
			"4":{"class_type":"PreviewAny","inputs":{"source":["1",1]}}},
			"images":[{"name":"in.png","image":"data:image/png;base64,`+red+`"}]}`)
		d.wantOutput(t, 1)
		f := d.Output.Files[0]
		if f.Filename != "ComfyUI_00001_.png" || f.Subfolder != "sub" || f.Node != "2" || f.Kind != "images" || f.MIME != "image/png" {
			t.Errorf("file = %+v", f)
		}
		e := p.comfy.Executions()[0]
		if e.Outcome != comfytest.Success {
			t.Errorf("execution = %+v", e)
		}
		for _, w := range e.Files {
			if w.Node == "2" && w.SHA256 != d.hashes[0] {
				t.Errorf("the bytes delivered are not those that ComfyUI wrote")
			}
		}
	})
}

// pngOf is a picture that ComfyUI painted.
func pngOf(t *testing.T, p *pod) []byte {
	t.Helper()
	d := p.do("paint", picture(0xff0000))
	d.wantOutput(t, 1)
	var out struct{ Images []struct{ Data []byte } }
	if err := json.Unmarshal(d.body, &out); err != nil {
		t.Fatal(err)
	}
	return out.Images[0].Data
}

// After jobs of every outcome nothing of them is left in ComfyUI: no file and no
// history entry.
func TestNothingIsLeftBehind(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		image := base64.StdEncoding.EncodeToString(pngOf(t, p))
		load := `{"workflow":{
			"1":{"class_type":"LoadImage","inputs":{"image":"in.png"}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}},
			"images":[{"name":"in.png","image":"` + image + `"}]}`
		for i := range 10 {
			p.do(fmt.Sprint("load", i), load).wantOutput(t, 1)
			p.do(fmt.Sprint("raise", i), simulated("SimRaise", `{"seed":1}`)).wantCause(t, CauseNode)
			p.do(fmt.Sprint("same", i), picture(7)).wantOutput(t, 1)
		}
		p.stop()
		if err := <-p.ended; err != context.Canceled {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
		p.ended <- nil
		if n := entries(t, p.comfy.OutputDir()); n != 0 {
			t.Errorf("%d output files are left", n)
		}
		if n := entries(t, p.comfy.InputDir()); n != 0 {
			t.Errorf("%d input files are left", n)
		}
		if n := p.comfy.HistorySize(); n != 0 {
			t.Errorf("%d history entries are left", n)
		}
	})
}

// An identical job gets its own picture although ComfyUI has the last one's
// result in its cache and the last one's file was removed.
func TestFault_H4_IdenticalJobGetsItsOwnFile(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		first := p.do("a", picture(1))
		second := p.do("b", picture(1))
		first.wantOutput(t, 1)
		second.wantOutput(t, 1)
		if first.hashes[0] != second.hashes[0] {
			t.Error("identical jobs have different pictures")
		}
	})
}

// Two jobs that bring different files of the same name each get their own.
func TestFault_V2_InputsOfTwoJobsAreApart(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	paint := func(colour int) string {
		d := p.do(fmt.Sprint("paint", colour), picture(colour))
		d.wantOutput(t, 1)
		var out struct{ Images []struct{ Data string } }
		if err := json.Unmarshal(d.body, &out); err != nil {
			t.Fatal(err)
		}
		return out.Images[0].Data
	}
	load := func(data string) string {
		return `{"workflow":{
			"1":{"class_type":"LoadImage","inputs":{"image":"a.png"}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}},
			"images":[{"name":"a.png","image":"` + data + `"}]}`
	}
	red, blue := p.do("red", load(paint(0xff0000))), p.do("blue", load(paint(0x0000ff)))
	red.wantOutput(t, 1)
	blue.wantOutput(t, 1)
	if red.hashes[0] == blue.hashes[0] {
		t.Error("the second job was given the first one's image")
	}
	stale := p.do("stale", `{"workflow":{
		"1":{"class_type":"LoadImage","inputs":{"image":"a.png"}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}}`)
	stale.wantCause(t, CauseInvalid)
}

// A job that ComfyUI refuses fails at once, with the node and the class named,
// and ComfyUI goes on.
func TestFault_H1_UnknownNodeClassIsNamed(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		start := time.Now()
		d := p.do("bad", `{"workflow":{"12":{"class_type":"NoSuchNode","inputs":{}}}}`)
		d.wantCause(t, CauseInvalid)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if !strings.Contains(d.Failure.Message, "NoSuchNode") || !strings.Contains(d.Failure.Message, "12") {
			t.Errorf("message %q names neither node nor class", d.Failure.Message)
		}
		if n := p.starts.Load(); n != 1 || len(p.comfy.Executions()) != 0 {
			t.Errorf("%d starts and %d executions, want 1 and 0", n, len(p.comfy.Executions()))
		}
	})
}

func TestMissingModelIsToldWithTheModelsThatThereAre(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		d := p.do("bad", `{"workflow":{
			"4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"nope.safetensors"}},
			"8":{"class_type":"VAEDecode","inputs":{"samples":["4",0],"vae":["4",2]}},
			"9":{"class_type":"SaveImage","inputs":{"images":["8",0],"filename_prefix":"x"}}}}`)
		d.wantCause(t, CauseInvalid)
		for _, want := range []string{"CheckpointLoaderSimple", "ckpt_name", "nope.safetensors", "sd_xl_base_1.0.safetensors"} {
			if !strings.Contains(d.Failure.Message, want) {
				t.Errorf("message %q lacks %q", d.Failure.Message, want)
			}
		}
	})
}

func TestNodeThatRaisesFailsTheJobAndNothingElse(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		d := p.do("bad", simulated("SimRaise", `{"exception_type":"ValueError","message":"the size is odd","seed":3}`))
		d.wantCause(t, CauseNode)
		if d.Failure.Attempts != 1 || !strings.Contains(d.Failure.Message, "the size is odd") || !strings.Contains(d.Failure.Message, "SimRaise") {
			t.Errorf("failure = %+v", d.Failure)
		}
		p.do("good", picture(1)).wantOutput(t, 1)
		if n := p.starts.Load(); n != 1 {
			t.Errorf("ComfyUI was started %d times, want once", n)
		}
	})
}

// ComfyUI is killed in the middle of a job: the same job completes on the next
// incarnation.
func TestFault_C2_JobSurvivesTheDeathOfComfyUI(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		p.source.submit(job.Job{ID: "a", Taken: time.Now(), Input: json.RawMessage(`{"workflow":{
			"1":{"class_type":"SimSleep","inputs":{"seconds":0.5,"mode":"poll","steps":10,"seed":1}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}}`)})
		p.executing(1)
		p.comfy.Kill(9)
		d := p.source.wait(t, "a")
		d.wantOutput(t, 1)
		if n := p.starts.Load(); n != 2 {
			t.Errorf("ComfyUI was started %d times, want twice", n)
		}
	})
}

// A job that kills ComfyUI each time is run twice and no more, and the jobs
// after it are well.
func TestFault_J8_PoisonJobGetsTwoAttempts(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	d := p.do("poison", die("sigkill"))
	d.wantCause(t, CauseCrashed)
	if d.Failure.Attempts != 2 || d.Failure.Kind != KindComfyUI || !strings.Contains(d.Failure.Message, "SIGKILL") {
		t.Errorf("failure = %+v", d.Failure)
	}
	if !strings.Contains(string(d.body), "the last thing it said") {
		t.Errorf("the last lines are not in the result: %s", d.body)
	}
	p.do("good", picture(1)).wantOutput(t, 1)
	if n := p.starts.Load(); n != 3 {
		t.Errorf("ComfyUI was started %d times, want 3", n)
	}
}

// CUDA's sticky errors: the process is replaced before anything else runs, and
// the job gets another try on the new one.
func TestFault_C10_StickyCUDAErrorReplacesTheProcess(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	sticky := simulated("SimRaise", `{"exception_type":"torch.AcceleratorError","message":"CUDA error: an illegal memory access was encountered","seed":1}`)
	d := p.do("sticky", sticky)
	if d.Failure == nil || d.Failure.Attempts != 2 {
		t.Errorf("outcome = %+v, want a failure after two attempts", d.Failure)
	}
	p.do("next", picture(1)).wantOutput(t, 1)
	if n := p.starts.Load(); n != 3 {
		t.Errorf("ComfyUI was started %d times, want 3", n)
	}
}

// A full GPU fails the job that filled it and costs nobody else anything.
func TestFault_C11_OutOfGPUMemoryFreesAndGoesOn(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	d := p.do("big", simulated("SimOOM", `{"seed":1}`))
	d.wantCause(t, CauseGPUMemory)
	freed := false
	for _, r := range p.comfy.Requests() {
		freed = freed || strings.HasSuffix(r.Path, "/free")
	}
	if !freed {
		t.Error("ComfyUI was not asked to free memory")
	}
	p.do("next", picture(1)).wantOutput(t, 1)
	if n := p.starts.Load(); n != 1 {
		t.Errorf("ComfyUI was started %d times after one OOM, want once", n)
	}
	for i := range 3 {
		p.do(fmt.Sprint("big", i), simulated("SimOOM", fmt.Sprintf(`{"seed":%d}`, 10+i))).wantCause(t, CauseGPUMemory)
	}
	p.do("after", picture(2)).wantOutput(t, 1)
	if n := p.starts.Load(); n != 2 {
		t.Errorf("ComfyUI was started %d times after three in a row, want twice", n)
	}
}

// The thread that executes prompts is dead while HTTP is well: the job is run
// again on a new process after the stall limit, once.
func TestFault_L4_DeadPromptWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Stall = 500 * time.Millisecond })
	d := p.do("zombie", die("sys_exit"))
	d.wantCause(t, CauseStalled)
	if d.Failure.Attempts != 2 {
		t.Errorf("attempts = %d, want 2", d.Failure.Attempts)
	}
	p.do("next", picture(1)).wantOutput(t, 1)
}

func TestCanceledJobLeavesTheGPU(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		canceled := make(chan struct{})
		p.source.submit(job.Job{ID: "a", Taken: time.Now(), Canceled: canceled, Input: json.RawMessage(simulated("SimSleep", `{"seconds":60,"mode":"poll","steps":6000,"seed":1}`))})
		p.executing(1)
		close(canceled)
		p.source.wait(t, "a").wantCause(t, CauseCanceled)
		p.do("next", picture(1)).wantOutput(t, 1)
		if n := p.starts.Load(); n != 1 {
			t.Errorf("ComfyUI was started %d times, want once", n)
		}
	})
}

// A job over its limit is taken from the GPU and fails with the limit, the node
// and the progress named; the next one runs.
func TestFault_J9_JobOverItsLimitIsEnded(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, nil)
	p.source.submit(job.Job{ID: "a", Taken: time.Now(), Timeout: time.Second, Input: json.RawMessage(simulated("SimSleep", `{"seconds":60,"mode":"poll","steps":6000,"seed":1}`))})
	d := p.source.wait(t, "a")
	d.wantCause(t, CauseTimeout)
	for _, part := range []string{"limit of 1s", "node 7 (SimSleep)", " %", "of 6000"} {
		if !strings.Contains(d.Failure.Message, part) {
			t.Errorf("message %q does not name %q", d.Failure.Message, part)
		}
	}
	p.do("next", picture(1)).wantOutput(t, 1)
}

// At a stop the job at hand is finished and reported, and nothing new is taken.
func TestFault_P1_DrainFinishesTheJobAtHand(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, nil)
	p.source.submit(job.Job{ID: "a", Taken: time.Now(), Input: json.RawMessage(`{"workflow":{
		"1":{"class_type":"SimSleep","inputs":{"seconds":0.3,"mode":"poll","steps":10,"seed":1}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}}`)})
	p.executing(1)
	p.stop()
	p.source.submit(job.Job{ID: "b", Input: json.RawMessage(picture(1))})
	p.source.wait(t, "a").wantOutput(t, 1)
	if err := <-p.ended; err != context.Canceled {
		t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
	p.ended <- nil
	if len(p.source.jobs) != 1 {
		t.Error("a job was taken after the stop")
	}
}

// A job that does not end within the drain is interrupted and reported as
// retryable, which Run tells.
func TestFault_P1_JobTooLongForTheDrainIsReported(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Drain = 200 * time.Millisecond })
	p.source.submit(job.Job{ID: "a", Taken: time.Now(), Input: json.RawMessage(simulated("SimSleep", `{"seconds":60,"mode":"poll","steps":6000,"seed":1}`))})
	p.executing(1)
	p.stop()
	d := p.source.wait(t, "a")
	d.wantCause(t, CauseShutdown)
	if !d.Failure.Retryable {
		t.Error("the failure does not say that another worker may succeed")
	}
	if err := <-p.ended; err != ErrAbandoned {
		t.Errorf("Run = %v, want %v", err, ErrAbandoned)
	}
	p.ended <- nil
}

// A result that the source has not taken when the time is up is an abandoned job, whatever the source says of it.
func TestFault_P1_ResultNotDeliveredInTimeIsAbandoned(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(cfg *Config) { cfg.Drain, cfg.Deliver = time.Millisecond, time.Millisecond })
	delivering := make(chan struct{})
	p.source.hold = func(ctx context.Context, _ string) error {
		close(delivering)
		<-ctx.Done()
		return errors.New("post result: 503, given up after try 3")
	}
	p.source.submit(job.Job{ID: "a", Input: json.RawMessage(picture(1))})
	<-delivering
	p.stop()
	if err := <-p.ended; err != ErrAbandoned {
		t.Errorf("Run = %v, want %v", err, ErrAbandoned)
	}
}

// A job whose ComfyUI was killed for a hurried stop is the shutdown's, on its last attempt too.
func TestFault_P3_ProcessKilledInAHurryIsNoCrash(t *testing.T) {
	hurry := make(chan struct{})
	p := startPod(t, comfytest.Config{}, func(cfg *Config) { cfg.Hurry = hurry })
	p.source.submit(job.Job{ID: "a", Input: json.RawMessage(simulated("SimSleep", `{"seconds":600,"mode":"poll"}`))})
	p.executing(1)
	p.comfy.Kill(syscall.SIGKILL)
	p.executing(2)
	close(hurry)
	p.comfy.Kill(syscall.SIGKILL) // before the context ends
	p.source.wait(t, "a").wantCause(t, CauseShutdown)
}

// slowError is that of a question which nobody answered.
type slowError struct{}

func (slowError) Error() string { return "no answer within 30s" }
func (slowError) Timeout() bool { return true }

// A ComfyUI that does not answer is out of reach, and no fault of ours.
func TestSilentComfyUIIsUnreachable(t *testing.T) {
	if f := blame(fmt.Errorf("find out whether ComfyUI has the prompt: %w", slowError{}), 1); f.Cause != CauseUnreachable {
		t.Errorf("cause is %s, want %s", f.Cause, CauseUnreachable)
	}
}

// hungStore never answers.
type hungStore struct{ entered chan struct{} }

func (s hungStore) Put(ctx context.Context, _ string, _ int, f job.File) (job.File, error) {
	close(s.entered)
	<-ctx.Done()
	return f, context.Cause(ctx)
}

// A job whose files cannot be stored before the pod has to end is reported all the same.
func TestFault_P1_UploadTooSlowForTheStopIsReported(t *testing.T) {
	t.Parallel()
	store := hungStore{make(chan struct{})}
	p := startPod(t, comfytest.Config{}, func(cfg *Config) {
		cfg.Store, cfg.Drain, cfg.Deliver = store, time.Millisecond, 3*time.Second
	})
	p.source.hold = func(ctx context.Context, _ string) error { return ctx.Err() } // as a queue that is asked too late
	p.source.submit(job.Job{ID: "a", Input: json.RawMessage(picture(1))})
	<-store.entered
	p.stop()
	p.source.wait(t, "a").wantCause(t, CauseShutdown)
	if err := <-p.ended; err != ErrAbandoned {
		t.Errorf("Run = %v, want %v", err, ErrAbandoned)
	}
}

// A job that waits at a ComfyUI which is given up goes to another one.
func TestJobMovesFromAGivenUpSlot(t *testing.T) {
	bad, good := &Slot{Gate: new(health.Gate)}, &Slot{Gate: new(health.Gate)}
	w := New(Config{Slots: []*Slot{bad, good}}, zap.NewNop())
	bad.Gate.CloseForGood(errors.New("the host is at fault"))
	good.Gate.Open()
	l := &life{w: w, slot: bad, ctx: t.Context()}
	_, leave, err := l.admit(1)
	if err != nil || l.slot != good {
		t.Fatalf("admit = %v, at the given up slot: %v", err, l.slot == bad)
	}
	leave()
	good.Gate.CloseForGood(errors.New("this one too"))
	if _, _, err := (&life{w: w, slot: bad, ctx: t.Context()}).admit(1); !errors.Is(err, health.ErrGivenUp) {
		t.Errorf("admit = %v with no ComfyUI left, want %v", err, health.ErrGivenUp)
	}
}

// A second signal cuts the drain short.
func TestFault_P3_HurryCutsTheDrainShort(t *testing.T) {
	hurry := make(chan struct{})
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Drain, c.Hurry = time.Hour, hurry })
	p.source.submit(job.Job{ID: "a", Taken: time.Now(), Input: json.RawMessage(simulated("SimSleep", `{"seconds":60,"mode":"poll","steps":6000,"seed":1}`))})
	p.executing(1)
	p.stop()
	close(hurry)
	p.source.wait(t, "a").wantCause(t, CauseShutdown)
	if err := <-p.ended; err != ErrAbandoned {
		t.Errorf("Run = %v, want %v", err, ErrAbandoned)
	}
	p.ended <- nil
}

// With REFRESH_WORKER the one result asks for the pod to be stopped, and no
// second job is taken.
func TestFault_J10_RefreshedPodDoesOneJob(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Refresh = RefreshPod })
	p.source.submit(job.Job{ID: "a", Input: json.RawMessage(picture(1))})
	p.source.submit(job.Job{ID: "b", Input: json.RawMessage(picture(2))})
	d := p.source.wait(t, "a")
	d.wantOutput(t, 1)
	if !d.Refresh {
		t.Error("the result does not ask for the pod to be stopped")
	}
	if err := <-p.ended; err != ErrRefresh {
		t.Errorf("Run = %v, want %v", err, ErrRefresh)
	}
	p.ended <- nil
	if len(p.source.jobs) != 1 {
		t.Error("a second job was taken")
	}
}

func TestRefreshedProcessIsNewForEachJob(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Refresh = RefreshProcess })
	for i := range 3 {
		d := p.do(fmt.Sprint(i), picture(i))
		d.wantOutput(t, 1)
		if d.Refresh {
			t.Error("the result asks for the pod to be stopped")
		}
	}
	p.stop()
	<-p.ended
	p.ended <- nil
	if n := p.starts.Load(); n < 3 {
		t.Errorf("ComfyUI was started %d times for three jobs", n)
	}
}

// A result over the queue's limit fails with the sizes and the remedies named,
// and is never posted.
func TestFault_R4_ResultOverTheLimitIsExplained(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.ResultLimit = 1e6 })
	big := simulated("SimFiles", `{"count":1,"bytes":2000000,"kind":"images","ext":"png","filename_prefix":"x","seed":1}`)
	d := p.do("big", big)
	d.wantCause(t, CauseTooLarge)
	for _, want := range []string{"2.7 MB", "1.0 MB", "BUCKET_ENDPOINT_URL", "smaller"} {
		if !strings.Contains(d.Failure.Message, want) {
			t.Errorf("message %q lacks %q", d.Failure.Message, want)
		}
	}
	p.do("small", picture(1)).wantOutput(t, 1)
}

// Whatever a node saves is delivered, under the key that it was listed by, and
// also what no node reported.
func TestFault_H8_EveryKindOfOutputIsDelivered(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	d := p.do("kinds", `{"workflow":{
		"1":{"class_type":"SimFiles","inputs":{"count":2,"bytes":100,"kind":"gifs","ext":"mp4","filename_prefix":"clip","seed":1}},
		"2":{"class_type":"SimFiles","inputs":{"count":1,"bytes":100,"kind":"audio","ext":"flac","filename_prefix":"sound","subfolder":"","seed":2}},
		"3":{"class_type":"SimFiles","inputs":{"count":1,"bytes":100,"kind":"3d","ext":"glb","filename_prefix":"mesh","report":false,"seed":3}},
		"4":{"class_type":"SimText","inputs":{"text":"hello"}},
		"5":{"class_type":"SimFiles","inputs":{"count":1,"bytes":100,"kind":"images","ext":"png","temp":true,"seed":4}}}}`)
	d.wantOutput(t, 4)
	kinds := make(map[string]int)
	for _, f := range d.Output.Files {
		kinds[f.Kind]++
	}
	if kinds["gifs"] != 2 || kinds["audio"] != 1 || kinds["files"] != 1 {
		t.Errorf("kinds = %v: %s", kinds, d.body)
	}
	if !strings.Contains(string(d.Output.Values["4"]), "hello") {
		t.Errorf("values = %s", d.Output.Values)
	}
}

// While a result waits for a dead queue the next job runs, and not a third.
func TestFault_R1_NextJobRunsWhileAResultWaits(t *testing.T) {
	open := make(chan struct{})
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Source.(*feed).hold = func(ctx context.Context, id string) error {
			select {
			case <-open:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	for i := range 3 {
		p.source.submit(job.Job{ID: fmt.Sprint(i), Input: json.RawMessage(picture(i))})
	}
	p.executing(2)
	if len(p.source.jobs) != 1 || len(p.comfy.Executions()) != 2 {
		t.Errorf("%d jobs wait and %d ran, want 1 and 2", len(p.source.jobs), len(p.comfy.Executions()))
	}
	close(open)
	for i := range 3 {
		p.source.wait(t, fmt.Sprint(i)).wantOutput(t, 1)
	}
}

func TestPrefetchQueuesTheNextPromptBehindTheRunningOne(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Prefetch = true })
	slow := func(seed int) json.RawMessage {
		return json.RawMessage(simulated("SimSleep", fmt.Sprintf(`{"seconds":0.5,"mode":"poll","steps":50,"seed":%d}`, seed)))
	}
	p.source.submit(job.Job{ID: "a", Input: slow(1)})
	p.source.submit(job.Job{ID: "b", Input: slow(2)})
	p.source.wait(t, "a")
	p.source.wait(t, "b")
	e := p.comfy.Executions()
	if len(e) != 2 || !e[1].Queued.Before(e[0].Ended) {
		t.Errorf("the second prompt was queued at %v, after the first had ended at %v", e[1].Queued, e[0].Ended)
	}
}

// The directory of another machine: outputs come over HTTP.
func TestOutputsComeOverHTTPWhereTheDirectoryIsNotOurs(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, func(c *Config) { c.Slots[0].OutputDir = t.TempDir() + "/nowhere" })
		d := p.do("a", picture(1))
		d.wantOutput(t, 1)
		if want := p.comfy.Executions()[0].Files[0].SHA256; d.hashes[0] != want {
			t.Errorf("hash = %s, want %s", d.hashes[0], want)
		}
	})
}

type failingStore struct{ bad int }

func (s failingStore) Put(_ context.Context, _ string, i int, f job.File) (job.File, error) {
	if i == s.bad {
		return f, fmt.Errorf("put %s: 503 SlowDown", f.Filename)
	}
	f.URL = "https://bucket/" + f.Filename
	return f, nil
}

// If one of five files cannot be stored the job fails and tells the fate of
// each; it never completes with fewer files.
func TestFault_S4_AllFilesOrAFailure(t *testing.T) {
	five := simulated("SimFiles", `{"count":5,"bytes":10,"kind":"images","ext":"png","filename_prefix":"x","seed":1}`)
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Store = failingStore{bad: 3} })
	d := p.do("a", five)
	d.wantCause(t, CauseStore)
	if fates := d.Failure.Details.([]fate); len(fates) != 5 || fates[3].Stored || !fates[2].Stored || fates[3].Error == "" {
		t.Errorf("fates = %+v", fates)
	}
	p = startPod(t, comfytest.Config{}, func(c *Config) { c.Store = failingStore{bad: -1} })
	d = p.do("b", five)
	d.wantOutput(t, 5)
	if !strings.Contains(string(d.body), `"type":"s3_url"`) {
		t.Errorf("result = %s", d.body)
	}
}

// A panic in the work on one job fails that job and no other.
func TestFault_P12_PanicFailsOneJob(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Observe = func(e Event) {
			if e.Job == "bad" && e.Phase == PhaseExecute {
				panic("planted")
			}
		}
	})
	p.do("bad", picture(1)).wantCause(t, CausePanic)
	p.do("good", picture(2)).wantOutput(t, 1)
}

func TestJobWaitingForAComfyUIThatWasGivenUpFails(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	p.slot.Restart = func(string) {}
	p.source.submit(job.Job{ID: "a", Input: json.RawMessage(simulated("SimSleep", `{"seconds":60,"mode":"poll","steps":6000,"seed":1}`))})
	p.executing(1)
	p.slot.Gate.CloseForGood(fmt.Errorf("5 starts in a row failed: exited with code 1 after 200ms"))
	d := p.source.wait(t, "a")
	d.wantCause(t, CauseBoot)
	if !strings.Contains(d.Failure.Message, "exited with code 1") {
		t.Errorf("message %q does not tell why", d.Failure.Message)
	}
}

func TestProgressReachesTheSource(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		p.do("a", simulated("SimSleep", `{"seconds":1,"mode":"poll","steps":20,"seed":1}`))
		last, most := job.Progress{}, 0.0
		for _, told := range p.source.progress("a") {
			if told.Phase != PhaseExecute {
				continue
			}
			if told.Percent < most {
				t.Errorf("progress fell from %v to %v", most, told.Percent)
			}
			last, most = told, told.Percent
		}
		if most == 0 || last.Class != "SimSleep" {
			t.Errorf("last progress = %+v", last)
		}
	})
}

// panickingStore panics when it is given a file.
type panickingStore struct{}

func (panickingStore) Put(context.Context, string, int, job.File) (job.File, error) { panic("planted") }

// A panic while a file is stored, which goes on beside everything else, fails that job alone.
func TestFault_P12_PanicOfTheStoreFailsOneJob(t *testing.T) {
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Store = panickingStore{} })
	for _, id := range []string{"a", "b"} {
		p.do(id, picture(1)).wantCause(t, CausePanic)
	}
}

// A panic where a lane waits for its next job, or in the source, ends the taking of jobs in order: the job at hand gets its outcome, and Run tells of the panic.
func TestFault_P12_PanicBetweenJobsEndsTheWorkerInOrder(t *testing.T) {
	plants := map[string]func(*Config){
		"lane": func(c *Config) {
			c.Wear = Wear{Memory: 0.5}
			c.Slots[0].Memory = func() float64 { panic("planted") }
		},
		"source": func(c *Config) { c.Source = &panickingSource{feed: c.Source.(*feed)} },
	}
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, comfytest.Config{}, plant)
			p.do("a", picture(1)).wantOutput(t, 1)
			if err := <-p.ended; !errors.Is(err, errPanic) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

// panickingSource gives one job, and panics when it is asked for another.
type panickingSource struct {
	*feed
	asked atomic.Int64
}

func (s *panickingSource) Take(ctx context.Context, n int) ([]job.Job, error) {
	if s.asked.Add(1) > 1 {
		panic("planted")
	}
	return s.feed.Take(ctx, n)
}
