package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A soakJob is one job of a soak, and what may lawfully become of it.
type soakJob struct {
	n    int
	id   string
	kind string
	// tag stands in every name and text of the job, and in no other job's. Only
	// a repeat shares it, with the job that it repeats.
	tag   string
	input string
	// limit is the execution limit that the queue tells, 0 for none.
	limit time.Duration
	// stopAfter is when its caller gives it up, counted from its hand-out; 0 is never.
	stopAfter time.Duration

	// outcomes are the lawful ends without any fault: completed, cancelled, or a cause.
	outcomes []string
	// pictures are of this colour, when it has any; files are how many there are.
	colour color.RGBA
	files  int
	// tells is true if the result has to tell the tag in a text.
	tells bool
	// deaths is how many ComfyUIs it may take with it.
	deaths int
}

// The ends of a job besides the causes of package worker.
const (
	soakCompleted = "completed"
	soakCancelled = "cancelled"
)

// jobs are the kinds of jobs of a pod of this kind.
func (k soakPodKind) jobs() []soakKind {
	kinds := soakKinds()
	if k.memory {
		kinds = append(kinds, soakKind{"hungry", 1, soakHungry})
	}
	return kinds
}

// soakKind is one sort of job. Build completes a job that has its number, id and tag.
type soakKind struct {
	name   string
	weight int
	build  func(j *soakJob, r *rand.Rand)
}

func soakKinds() []soakKind {
	return []soakKind{
		{"picture", 62, soakPicture},
		{"repeat", 6, nil}, // copies the picture before it
		{"batch", 4, soakBatch},
		{"files", 4, soakFiles},
		{"large", 4, soakLarge},
		{"upload", 5, soakUpload},
		{"text", 3, soakText},
		{"invalid", 4, soakInvalid},
		{"raise", 4, soakRaise},
		{"oom", 1, soakOOM},
		{"sticky", 1, soakSticky},
		{"fork", 1, soakFork},
		{"poison", 3, soakPoison},
		{"endless", 2, soakEndless},
		{"late", 1, soakLate},
		{"chatty", 1, soakChatty},
	}
}

// soakColour is a colour that no other job's number has, below 16 million jobs.
func soakColour(n int) color.RGBA {
	c := uint32(n+1) * 2654435761
	return color.RGBA{R: uint8(c), G: uint8(c >> 8), B: uint8(c >> 16), A: 255}
}

// seed is what makes SimSleep paint in the job's colour.
func (j *soakJob) seed() int {
	return int(j.colour.R) | int(j.colour.G)<<8 | int(j.colour.B)<<16
}

func (j *soakJob) completes(files int) {
	j.outcomes, j.files = []string{soakCompleted}, files
}

func (j *soakJob) sleeps(seconds float64, steps int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"SimSleep","inputs":{"seconds":%v,"mode":"poll","steps":%d,"seed":%d}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":%q}}}}`, seconds, steps, j.seed(), j.tag)
}

func soakPicture(j *soakJob, r *rand.Rand) {
	j.input = j.sleeps(float64(1+r.IntN(50))/1000, 1+r.IntN(5))
	j.completes(1)
}

func soakBatch(j *soakJob, r *rand.Rand) {
	n := 2 + r.IntN(4)
	rgb := int(j.colour.R)<<16 | int(j.colour.G)<<8 | int(j.colour.B)
	j.input = fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":32,"height":32,"batch_size":%d,"color":%d}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":%q}}}}`, n, rgb, "sub/"+j.tag)
	j.completes(n)
}

// soakFiles has several files of one kind, which may be one that no node reports.
func soakFiles(j *soakJob, r *rand.Rand) {
	n := 1 + r.IntN(5)
	kind := []string{"images", "gifs", "audio", "3d"}[r.IntN(4)]
	j.input = simulated("SimFiles", fmt.Sprintf(`{"count":%d,"bytes":%d,"kind":%q,"report":%v,"seed":%d,"filename_prefix":%q}`,
		n, 1+r.IntN(5000), kind, r.IntN(4) > 0, j.seed(), j.tag))
	j.completes(n)
}

func soakLarge(j *soakJob, r *rand.Rand) {
	j.input = simulated("SimFiles", fmt.Sprintf(`{"bytes":%d,"seed":%d,"filename_prefix":%q}`, 1<<20+r.IntN(1<<20), j.seed(), j.tag))
	j.completes(1)
}

// soakUpload brings an input image, which has the same name in every job.
func soakUpload(j *soakJob, _ *rand.Rand) {
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range img.Pix {
		img.Pix[i] = []uint8{j.colour.R, j.colour.G, j.colour.B, 255}[i%4]
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // into memory
	}
	j.input = fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"LoadImage","inputs":{"image":"input.png"}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":%q}}},
		"images":[{"name":"input.png","image":%q}],"comfy_org_api_key":"%s_job_0123456789"}`, j.tag, base64.StdEncoding.EncodeToString(b.Bytes()), soakCanary)
	j.completes(1)
}

func soakText(j *soakJob, _ *rand.Rand) {
	j.input = simulated("SimText", fmt.Sprintf(`{"text":%q}`, j.tag))
	j.completes(0)
	j.tells = true
}

func soakInvalid(j *soakJob, r *rand.Rand) {
	if r.IntN(5) == 0 {
		j.input = fmt.Sprintf(`{"workflow":%q}`, j.tag)
		j.outcomes = []string{worker.CauseBadInput}
		return
	}
	j.input = simulated("NoSuch_"+j.tag, `{}`)
	j.outcomes, j.tells = []string{worker.CauseInvalid}, true
}

// soakRaise fails in a node, which may tell a key that it was given.
func soakRaise(j *soakJob, r *rand.Rand) {
	message := "boom " + j.tag
	if r.IntN(3) == 0 {
		message += " with " + soakCanaries()["COMFY_ORG_API_KEY"]
	}
	j.input = simulated("SimRaise", fmt.Sprintf(`{"message":%q}`, message))
	j.outcomes, j.tells = []string{worker.CauseNode}, true
}

func soakOOM(j *soakJob, _ *rand.Rand) {
	j.input = simulated("SimOOM", fmt.Sprintf(`{"seed":%d}`, j.seed()))
	j.outcomes = []string{worker.CauseGPUMemory}
}

// soakSticky spoils the GPU context of every process that runs it.
func soakSticky(j *soakJob, _ *rand.Rand) {
	j.input = sticky(j.seed())
	j.outcomes, j.deaths = []string{worker.CauseNode}, 2
}

// soakFork leaves processes behind, of which nothing may remain when their
// ComfyUI ends.
func soakFork(j *soakJob, r *rand.Rand) {
	j.input = simulated("SimFork", fmt.Sprintf(`{"count":%d,"setsid":%v,"hold_stdout":%v,"seed":%d}`,
		[]int{1, 2, 3, 4, 20}[r.IntN(5)], r.IntN(2) == 0, r.IntN(2) == 0, j.seed()))
	j.completes(0)
}

// soakChatty logs more than the queue of the relay holds, in lines or as progress
// bars do.
func soakChatty(j *soakJob, r *rand.Rand) {
	newline := []string{"\n", "\r"}[r.IntN(2)]
	j.input = simulated("SimLog", fmt.Sprintf(`{"lines":%d,"bytes":%d,"newline":%q,"seed":%d}`, 500+r.IntN(2000), 50+r.IntN(150), newline, j.seed()))
	j.completes(0)
}

// soakHungry makes every ComfyUI that runs it grow until the kernel kills it.
func soakHungry(j *soakJob, _ *rand.Rand) {
	j.input = simulated("SimLeak", fmt.Sprintf(`{"mb":%d,"seed":%d}`, 4*soakMemory>>20, j.seed()))
	j.outcomes, j.deaths = []string{worker.CauseOOMKilled}, 2
}

// soakPoison ends every ComfyUI that runs it.
func soakPoison(j *soakJob, r *rand.Rand) {
	how := []string{"sigkill", "sigsegv", "abort", "sigterm", "sigint", "exit:3", "exit:0", "bad_ui", "keyboardinterrupt"}[r.IntN(9)]
	when := []string{"before_output", "after_output"}[r.IntN(2)]
	j.input = simulated("SimDie", fmt.Sprintf(`{"how":%q,"when":%q,"seed":%d}`, how, when, j.seed()))
	j.kind += " " + how
	j.outcomes, j.deaths = []string{worker.CauseCrashed}, 2
	switch how {
	case "keyboardinterrupt": // ends the worker thread alone, and says so
		j.outcomes = []string{worker.CausePoisoned}
	case "bad_ui": // without a socket it lives, and cannot send its history
		j.outcomes = append(j.outcomes, worker.CauseUnreachable)
	}
}

// soakDeaf ends the worker thread without a word: only the job's limit tells.
func soakDeaf(j *soakJob, _ *rand.Rand) {
	j.input = simulated("SimDie", fmt.Sprintf(`{"how":"sys_exit","seed":%d}`, j.seed()))
	j.kind, j.limit = "deaf", time.Second
	j.outcomes, j.deaths = []string{worker.CauseTimeout}, 1
}

// soakEndless is given up by its caller.
func soakEndless(j *soakJob, r *rand.Rand) {
	j.input = j.sleeps(600, 60_000)
	j.stopAfter = time.Duration(1+r.IntN(200)) * time.Millisecond
	j.outcomes = []string{soakCancelled}
}

func soakLate(j *soakJob, _ *rand.Rand) {
	j.input = j.sleeps(600, 60_000)
	j.limit = 300 * time.Millisecond
	j.outcomes = []string{worker.CauseTimeout}
}

// submit hands the job to the queue.
func (j *soakJob) submit(q *runpodtest.Server) {
	policy := ""
	if j.limit > 0 {
		policy = fmt.Sprintf(`,"policy":{"executionTimeout":%d}`, j.limit.Milliseconds())
	}
	q.SubmitEntry(j.id, fmt.Sprintf(`{"id":%q,"input":%s%s}`, j.id, j.input, policy))
}

// spoilsGPU tells whether the job has its ComfyUI condemned for the GPU's sake.
// Two such in a row would have the host blamed, and the pod ended.
func (j *soakJob) spoilsGPU() bool {
	return slices.Contains([]string{"sticky", "poison keyboardinterrupt", "oom"}, j.kind)
}
