package simulation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A record is a result as the queue accepted it.
type record struct {
	outcome  string // completed, or the cause
	message  string
	attempts int // told by failures only
	files    []file
	tags     []string // all that occur anywhere in it, each once
}

func (x record) String() string {
	return fmt.Sprintf("%s %q, attempts %d, files %v", x.outcome, x.message, x.attempts, x.files)
}

// A file is one file of a result.
type file struct{ name, sha256 string }

var tags = regexp.MustCompile(`tag-[0-9]{3}`)

// accept is given each result that the queue takes.
func (r *run) accept(id string, body []byte) error {
	x, err := r.readRecord(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[id] = x
	return err
}

func (r *run) readRecord(body []byte) (record, error) {
	type listed struct{ Filename, Kind, Type, Data string }
	var result struct {
		Error  string
		Output struct {
			Cause    string
			Attempts int
			Images   []listed
			Files    []listed
		}
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return record{}, fmt.Errorf("read result: %w", err)
	}
	out := result.Output
	x := record{outcome: completed, message: result.Error, attempts: out.Attempts}
	if result.Error != "" {
		x.outcome = out.Cause
	}
	for _, tag := range tags.FindAll(body, -1) {
		if !slices.Contains(x.tags, string(tag)) {
			x.tags = append(x.tags, string(tag))
		}
	}
	images := out.Images
	for _, f := range out.Files {
		if f.Kind == "images" { // their data stands in the documented list
			if len(images) == 0 {
				return x, fmt.Errorf("%s is not among the images", f.Filename)
			}
			f, images = images[0], images[1:]
		}
		sum, err := r.sum(f.Type, f.Data)
		if err != nil {
			return x, fmt.Errorf("read %s: %w", f.Filename, err)
		}
		x.files = append(x.files, file{f.Filename, sum})
	}
	return x, nil
}

// sum is the SHA-256 of what is in a result, or of what its URL leads to.
func (r *run) sum(kind, data string) (string, error) {
	if kind == "s3_url" {
		return r.store.object(data), nil
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), err
}

// promptsPerJob is how many attempts at a job by one pod are looked for.
const promptsPerJob = 12

// promptIDs are the jobs of prompts.
func (r *run) promptIDs() map[string]string {
	ids := make(map[string]string)
	for _, j := range r.plan.jobs {
		for n := range promptsPerJob {
			ids[comfy.PromptID(j.id, n+1)] = j.id
		}
	}
	return ids
}

// A sight is all that is known of one job at the end.
type sight struct {
	queue  runpodtest.Job
	record *record
	// ran are its executions by prompt id and pod.
	ran  map[string]int
	good []comfytest.Execution
	// losses is how many attempts it may have lost, through the end of a ComfyUI or
	// otherwise, and excuses are the causes that faults make lawful.
	losses  int
	excuses []string
}

// stuck tells which jobs did not come to an end.
func (r *run) stuck() {
	for _, j := range r.plan.jobs {
		if r.queue.Job(j.id).Outcome == nil {
			r.violation(j.id, "%s has not ended %v after the last fault", j.id, recovery)
		}
	}
	for _, p := range r.living() {
		if n := p.work.Active(); n > 0 {
			r.violation("", "%s still has %d jobs at hand %v after the last fault", p.name, n, recovery)
		}
	}
}

// judge compares what became of everything with what may become of it.
func (r *run) judge() {
	if err := r.queue.Check(); err != nil && len(r.violations) == 0 {
		for text := range strings.Lines(err.Error()) {
			if !r.excused(text) {
				r.violation("", "queue: %s", strings.TrimSpace(text))
			}
		}
	}
	for i := range r.plan.jobs {
		j := &r.plan.jobs[i]
		for _, wrong := range j.judge(r.sight(j), r) {
			r.violation(j.id, "%s (%s): %s", j.id, j.kind, wrong)
		}
	}
	for _, p := range r.pods {
		r.judgePod(p)
	}
	for name, calls := range map[string]*rate{"queue": &r.calls, "S3": &r.store.calls} {
		if most := 20 * len(r.pods); calls.top > most {
			r.violation("", "the %s refused %d calls within a second", name, calls.top)
		}
	}
}

// excused tells whether what the queue complains about is its own doing: it handed
// a job out again, to a pod that knew nothing of its end.
func (r *run) excused(complaint string) bool {
	name, what, _ := strings.Cut(strings.TrimPrefix(complaint, "job "), ": ")
	again := len(r.queue.Job(name).Handouts) > 1
	switch {
	case strings.HasPrefix(what, "progress after its result"):
		return again
	case strings.HasPrefix(what, "done "): // an answer that the link lost counts for nothing at the queue
		return again || r.hasFired(func(x excuse) bool { return x.untold })
	}
	return false
}

// sight gathers what is known of a job.
func (r *run) sight(j *plannedJob) sight {
	s := sight{queue: r.queue.Job(j.id), ran: make(map[string]int)}
	if x, ok := r.records[j.id]; ok {
		s.record = &x
	}
	ids := make(map[string]bool)
	for n := range promptsPerJob {
		ids[comfy.PromptID(j.id, n+1)] = true
	}
	for _, p := range r.pods {
		for _, in := range p.instances {
			for _, e := range in.comfyui.executions() {
				if !ids[e.PromptID] {
					continue
				}
				s.ran[p.name+" "+e.PromptID]++
				if e.Outcome == comfytest.Success {
					s.good = append(s.good, e)
				}
			}
		}
	}
	if len(s.queue.Handouts) > 0 {
		r.lossesOf(&s)
	}
	return s
}

// lossesOf counts what a job may have lost between its first hand-out and its end.
func (r *run) lossesOf(s *sight) {
	from, to := s.queue.Handouts[0].At, time.Now()
	if o := s.queue.Outcome; o != nil && !o.At.IsZero() && len(s.queue.Handouts) == 1 {
		to = o.At
	}
	during := func(at, end time.Time) bool { return !end.Before(from) && !at.After(to) }
	for _, p := range r.pods {
		for _, in := range p.instances {
			for _, e := range in.comfyui.exits() {
				if during(e.At, e.At) {
					s.losses++
				}
			}
		}
	}
	cuts := 0
	for _, f := range r.fired {
		x := f.fault.excuse
		if f.acted == nil || x.losses+x.cuts == 0 && len(x.causes) == 0 {
			continue
		}
		end := f.at.Add(f.fault.lasts + x.span)
		if x.span == 0 {
			end = to
		}
		if during(f.at, end) {
			s.losses += x.losses
			cuts += x.cuts
			s.excuses = append(s.excuses, x.causes...)
		}
	}
	if cuts >= 2 {
		s.excuses = append(s.excuses, worker.CauseUnreachable)
	}
}

// lost are the causes by which a job may fail that has lost two attempts.
var lost = []string{
	worker.CauseCrashed, worker.CauseOOMKilled, worker.CauseHung, worker.CausePoisoned, worker.CauseStalled, worker.CauseHistory,
}

// judge returns everything that is wrong with what became of a job, nothing if
// it is lawful.
func (j *plannedJob) judge(s sight, r *run) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	o := s.queue.Outcome
	if o == nil {
		return nil // stuck has told
	}
	outcome := cancelled
	if o.Status != runpodtest.Cancelled {
		outcome = s.record.outcome
	}
	lawful := slices.Concat(j.outcomes, s.excuses)
	if s.losses > 0 && s.losses+j.deaths >= 2 {
		lawful = append(lawful, lost...)
	}
	lawful = append(lawful, r.endings(s.queue)...)
	if outcome == worker.CauseCanceled && j.stopAfter > 0 {
		return nil
	}
	if !slices.Contains(lawful, outcome) {
		say("it ended as %q, lawful are %q after %d losses: %s", outcome, lawful, s.losses, s.record)
	}
	prompts := 0
	for id, n := range s.ran {
		prompts++
		if n > 1 && !r.hasFired(func(x excuse) bool { return x.delays }) {
			say("%s was executed %d times", id, n)
		}
	}
	if prompts > len(s.queue.Handouts) && s.losses+j.deaths == 0 {
		say("it was executed %d times, handed out %d times, and nothing was lost", prompts, len(s.queue.Handouts))
	}
	if prompts > 2*len(s.queue.Handouts) {
		say("it was executed %d times, handed out %d times", prompts, len(s.queue.Handouts))
	}
	if outcome == cancelled {
		return wrong
	}
	return append(wrong, j.judgeRecord(s)...)
}

// judgeRecord judges the result that was accepted.
func (j *plannedJob) judgeRecord(s sight) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	x := s.record
	for _, tag := range x.tags {
		if tag != j.tag {
			say("its result tells of %s, which is another job's", tag)
		}
	}
	if slices.Contains(j.outcomes, x.outcome) && j.tells && !slices.Contains(x.tags, j.tag) {
		say("its result does not tell %s", j.tag)
	}
	if x.outcome != completed {
		if x.message == "" || x.outcome == "" {
			say("its failure has no message or no cause")
		}
		if x.outcome == worker.CauseCrashed && x.attempts != 2 {
			say("ComfyUI was blamed after %d attempts", x.attempts)
		}
		return wrong
	}
	if len(x.files) != j.files {
		say("it has %d files, want %d", len(x.files), j.files)
	}
	for _, e := range s.good {
		if slices.EqualFunc(x.files, e.Files, func(got file, made comfytest.WrittenFile) bool {
			return got.name == filepath.Base(made.Path) && got.sha256 == made.SHA256
		}) {
			return wrong
		}
	}
	say("no execution made its files %v", x.files)
	return wrong
}

// endings are the causes that the end of the pod which told the outcome makes
// lawful.
func (r *run) endings(q runpodtest.Job) (causes []string) {
	for _, p := range r.pods {
		if p.name != q.Outcome.Worker {
			continue
		}
		if !p.stopped.IsZero() || !p.killed.IsZero() {
			causes = append(causes, worker.CauseShutdown)
		}
		for _, in := range p.instances {
			if gaveUp(in.ended) {
				causes = append(causes, worker.CauseBoot, worker.CauseShutdown, worker.CausePoisoned)
			}
		}
	}
	return causes
}

func gaveUp(err error) bool {
	return errors.Is(err, supervisor.ErrCrashLoop) || errors.Is(err, errHost)
}

// judgePod judges how a pod lived and ended.
func (r *run) judgePod(p *pod) {
	if !p.killed.IsZero() {
		return
	}
	say := func(format string, args ...any) { r.violation("", p.name+" "+format, args...) }
	begun := p.stopped
	if !begun.IsZero() && p.ended.Sub(begun) > stopBudget {
		say("needed %v to stop", p.ended.Sub(begun))
	}
	switch {
	case errors.Is(p.verdict, errStopSignal):
		if p.drained != nil && !errors.Is(p.drained, worker.ErrAbandoned) && p.drained.Error() != "context canceled" {
			say("drained as %v", p.drained)
		}
	case errors.Is(p.verdict, worker.ErrRefresh) && r.plan.setup.refresh == worker.RefreshPod:
	case gaveUp(p.verdict):
		if !r.mayGiveUp() {
			say("gave up: %v", p.verdict)
		}
	default:
		say("ended by itself: %v", p.verdict)
	}
	for _, j := range r.plan.jobs {
		r.judgeDebt(p, r.queue.Job(j.id))
	}
	for _, in := range p.instances {
		r.judgeExits(p, in)
	}
}

// judgeDebt judges whether a pod that ended in order has answered a job that it
// was given, or else says that it has not.
func (r *run) judgeDebt(p *pod, j runpodtest.Job) {
	given := slices.ContainsFunc(j.Handouts, func(h runpodtest.Handout) bool { return h.Worker == p.name && !h.Torn })
	told := slices.ContainsFunc(j.Posts, func(x runpodtest.Post) bool { return x.Worker == p.name && x.Verdict != "rejected" })
	if !given || told || r.hasFired(func(x excuse) bool { return x.mute }) {
		return
	}
	if !errors.Is(p.drained, worker.ErrAbandoned) {
		r.violation(j.ID, "%s ended as if nothing was left, and never told what became of %s", p.name, j.ID)
	}
	if !r.hasFired(func(x excuse) bool { return x.untold }) {
		r.violation(j.ID, "%s never told what became of %s, and nothing kept it from that", p.name, j.ID)
	}
}

// mayGiveUp tells whether the plan has anything that ends pods for good.
func (r *run) mayGiveUp() bool {
	n := 0
	for _, j := range r.plan.jobs {
		if j.spoils {
			n++
		}
	}
	for _, f := range r.fired {
		if f.acted != nil && f.fault.excuse.condemns {
			n++
		}
	}
	return n >= 2
}

// judgeExits looks why processes were ended that had not ended by themselves.
func (r *run) judgeExits(p *pod, in *instance) {
	for _, h := range r.events {
		if h.in != in || h.phase != string(supervisor.StateBackoff) || h.exit == nil || h.exit.Stopped == "" || h.exit.Planned {
			continue
		}
		if !r.mayCondemn() {
			r.violation("", "%s was given up, and nothing ailed it: %s", in.name, h.exit.Stopped)
		}
	}
}

// mayCondemn tells whether the plan has anything for which a process that seems
// to run may be given up.
func (r *run) mayCondemn() bool {
	for _, j := range r.plan.jobs {
		if j.spoils || j.deaths > 0 {
			return true
		}
	}
	return r.hasFired(func(x excuse) bool { return x.condemns })
}

// hasFired tells whether a fault has happened whose excuse is of a sort.
func (r *run) hasFired(is func(excuse) bool) bool {
	return slices.ContainsFunc(r.fired, func(f *firing) bool { return f.acted != nil && is(f.fault.excuse) })
}
