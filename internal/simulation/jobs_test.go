package simulation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/comfyvisor/comfyvisor/worker"
)

// A plannedJob is one job of a run, and what may lawfully become of it.
type plannedJob struct {
	n    int
	id   string
	kind string
	// tag stands in every name and text of the job, and in no other job's.
	tag   string
	input string
	at    time.Duration // of its submission
	limit time.Duration // that the queue tells, 0 for none
	// stopAfter is when its caller gives it up, counted from its submission; 0
	// is never.
	stopAfter time.Duration

	// outcomes are the lawful ends without any fault: completed, cancelled, or a cause.
	outcomes []string
	files    int
	// tells is true if the result has to tell the tag in a text.
	tells bool
	// deaths is how many ComfyUIs it may take with it.
	deaths int
	// spoils is true if it has its ComfyUI given up for the GPU's sake. Two such
	// in a row may have the host blamed, and the pod ended.
	spoils bool
}

// The ends of a job besides the causes of package worker.
const (
	completed = "completed"
	cancelled = "cancelled"
)

// A jobKind completes a job that has its number, id and tag.
type jobKind struct {
	name   string
	weight int
	build  func(j *plannedJob, r *rand.Rand)
}

var jobKinds = []jobKind{
	{"files", 56, filesJob},
	{"repeat", 5, repeatJob},
	{"sleep", 12, sleepJob},
	{"long", 2, longJob},
	{"hold", 2, holdJob},
	{"text", 4, textJob},
	{"large", 1, largeJob},
	{"invalid", 5, invalidJob},
	{"raise", 5, raiseJob},
	{"oom", 2, oomJob},
	{"sticky", 2, stickyJob},
	{"poison", 3, poisonJob},
	{"late", 2, lateJob},
	{"cancelled", 3, endlessJob},
}

func jobID(n int) string { return fmt.Sprintf("job-%d", n) }

func newJob(r *rand.Rand, n int, p plan) plannedJob {
	j := plannedJob{n: n, id: jobID(n), tag: fmt.Sprintf("tag-%03d", n), at: within(r, p.span)}
	total := 0
	for _, k := range jobKinds {
		total += k.weight
	}
	pick := r.IntN(total)
	for _, k := range jobKinds {
		if pick -= k.weight; pick < 0 {
			j.kind = k.name
			k.build(&j, r)
			break
		}
	}
	return j
}

// within is a moment in a span, its beginning rather often.
func within(r *rand.Rand, span time.Duration) time.Duration {
	if r.IntN(3) == 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(span)))
}

// brief draws a time between a millisecond and most, short ones more often.
func brief(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(float64(time.Millisecond) * math.Exp(r.Float64()*math.Log(float64(most/time.Millisecond))))
}

func (j *plannedJob) completes(files int) { j.outcomes, j.files = []string{completed}, files }

// does is the input of a job of one node.
func (j *plannedJob) does(class, inputs string) {
	j.input = fmt.Sprintf(`{"workflow":{"1":{"class_type":%q,"inputs":%s}}}`, class, inputs)
}

// saves is the input of a job that writes files, which its node reports or not.
func (j *plannedJob) saves(count, bytes int, report bool) string {
	return fmt.Sprintf(`{"workflow":{"1":{"class_type":"SimFiles","inputs":
		{"count":%d,"bytes":%d,"kind":"images","report":%v,"seed":%d,"filename_prefix":%q}}}}`, count, bytes, report, j.n, j.tag)
}

func filesJob(j *plannedJob, r *rand.Rand) {
	n := 1 + r.IntN(3)
	j.input = j.saves(n, 1+r.IntN(2000), r.IntN(4) > 0)
	j.completes(n)
}

// repeatJob is the same workflow each time, which ComfyUI has in its cache.
func repeatJob(j *plannedJob, _ *rand.Rand) {
	j.does("SimFiles", `{"bytes":100,"seed":424242,"filename_prefix":"same"}`)
	j.completes(1)
}

// sleepJob takes its time and then writes a file.
func sleepJob(j *plannedJob, r *rand.Rand) {
	mode := []string{"poll", "poll", "sleep", "async"}[r.IntN(4)]
	j.input = j.slow(brief(r, 15*time.Second), mode, 1+r.IntN(5))
	j.completes(1)
}

// longJob outlasts the time for which the queue leaves a job to a silent worker.
func longJob(j *plannedJob, r *rand.Rand) {
	j.input = j.slow(lease+time.Duration(1+r.IntN(40))*time.Second, "poll", 60)
	j.completes(1)
}

// holdJob holds the interpreter, so that nothing is answered meanwhile.
func holdJob(j *plannedJob, r *rand.Rand) {
	j.input = j.slow(brief(r, 12*time.Second), "gil", 1)
	j.completes(1)
}

func (j *plannedJob) slow(d time.Duration, mode string, steps int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"SimSleep","inputs":{"seconds":%v,"mode":%q,"steps":%d,"seed":%d}},
		"2":{"class_type":"SimFiles","inputs":{"bytes":50,"seed":%d,"filename_prefix":%q}}}}`,
		d.Seconds(), mode, steps, j.n, j.n, j.tag)
}

func largeJob(j *plannedJob, r *rand.Rand) {
	j.input = j.saves(1, 100_000+r.IntN(200_000), true)
	j.completes(1)
}

func textJob(j *plannedJob, _ *rand.Rand) {
	j.does("SimText", fmt.Sprintf(`{"text":%q}`, j.tag))
	j.completes(0)
	j.tells = true
}

func invalidJob(j *plannedJob, r *rand.Rand) {
	if r.IntN(3) == 0 {
		j.input = fmt.Sprintf(`{"workflow":%q}`, j.tag)
		j.outcomes = []string{worker.CauseBadInput}
		return
	}
	j.does("NoSuch_"+j.tag, `{}`)
	j.outcomes, j.tells = []string{worker.CauseInvalid}, true
}

func raiseJob(j *plannedJob, _ *rand.Rand) {
	j.does("SimRaise", fmt.Sprintf(`{"message":%q}`, "boom "+j.tag))
	j.outcomes, j.tells = []string{worker.CauseNode}, true
}

func oomJob(j *plannedJob, _ *rand.Rand) {
	j.does("SimOOM", fmt.Sprintf(`{"seed":%d}`, j.n))
	j.outcomes, j.spoils = []string{worker.CauseGPUMemory}, true
}

// stickyJob spoils the GPU context of every process that runs it.
func stickyJob(j *plannedJob, _ *rand.Rand) {
	j.does("SimRaise", fmt.Sprintf(`{"exception_type":"torch.AcceleratorError",
		"message":"CUDA error: an illegal memory access was encountered","seed":%d}`, j.n))
	j.outcomes, j.deaths, j.spoils = []string{worker.CauseNode, worker.CausePoisoned}, 2, true
}

// poisonJob ends every ComfyUI that runs it.
func poisonJob(j *plannedJob, r *rand.Rand) {
	how := []string{"sigkill", "sigsegv", "abort", "sigterm", "sigint", "exit:3", "exit:0", "bad_ui", "keyboardinterrupt"}[r.IntN(9)]
	when := []string{"before_output", "after_output"}[r.IntN(2)]
	j.does("SimDie", fmt.Sprintf(`{"how":%q,"when":%q,"seed":%d}`, how, when, j.n))
	j.kind += " " + how
	j.outcomes, j.deaths = []string{worker.CauseCrashed}, 2
	if how == "bad_ui" { // its history entry cannot be sent either, if no socket was there to tell of it
		j.outcomes = append(j.outcomes, worker.CauseUnreachable)
	}
	if how == "keyboardinterrupt" { // ends the worker thread alone, and says so
		j.outcomes, j.spoils = []string{worker.CausePoisoned, worker.CauseStalled}, true
	}
}

func lateJob(j *plannedJob, r *rand.Rand) {
	j.input = j.slow(10*time.Minute, "poll", 1000)
	j.limit = 50*time.Millisecond + brief(r, 8*time.Second)
	j.outcomes = []string{worker.CauseTimeout}
}

// endlessJob is given up by its caller.
func endlessJob(j *plannedJob, r *rand.Rand) {
	j.input = j.slow(10*time.Minute, "poll", 1000)
	j.stopAfter = brief(r, 10*time.Second)
	j.outcomes = []string{cancelled}
}

// entry is what the queue hands out.
func (j *plannedJob) entry() string {
	policy := ""
	if j.limit > 0 {
		policy = fmt.Sprintf(`,"policy":{"executionTimeout":%d}`, j.limit.Milliseconds())
	}
	return fmt.Sprintf(`{"id":%q,"input":%s%s}`, j.id, j.input, policy)
}
