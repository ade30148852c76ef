package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// killed is what a process that was killed in this moment leaves of dir.
func killed(t *testing.T, dir string) string {
	t.Helper()
	left := t.TempDir()
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return left
}

// What was told to clients is still so after a sudden end: jobs wait in their
// order, the one that was running runs again, results are there byte for byte.
func TestJobsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	picture := random(1000)
	done := a.finished(job.File{Filename: "a.png", Kind: "images", MIME: "image/png", Content: contentOf(picture)})
	broken := a.submitJob()
	a.takeOne()
	r := failure(broken, "node_failed")
	r.Failure.Details = map[string]int{"node": 3}
	a.done(r)
	dropped := a.submitJob()
	a.want(http.StatusOK, "POST", "/cancel/"+dropped, "")
	running := a.want(http.StatusOK, "POST", "/run", `{"input":{"a":1},"policy":{"executionTimeout":5000}}`).job(t).ID
	first := a.takeOne()
	a.Progress(running, job.Progress{Attempt: 2})
	var queued []string
	for range 3 {
		queued = append(queued, a.submitJob())
	}
	status := a.want(http.StatusOK, "GET", "/status/"+done, "").body

	b := serve(t, Config{SpoolDir: killed(t, dir)})
	if got := b.want(http.StatusOK, "GET", "/status/"+done, "").body; !bytes.Equal(got, status) {
		t.Errorf("status of the completed job = %.200s, was %.200s", got, status)
	}
	if got := b.want(http.StatusOK, "GET", "/jobs/"+done+"/files/0", "").body; !bytes.Equal(got, bytes.TrimSpace(picture)) {
		t.Errorf("the picture has other bytes")
	}
	if d := b.detail(broken); d.Status != failed || *d.Cause != "node_failed" || string(d.Details) != `{"node":3}` {
		t.Errorf("failed job = %+v", d)
	}
	if got := b.stateOf(dropped); got != cancelled {
		t.Errorf("cancelled job is %s", got)
	}
	again := b.takeOne()
	if again.ID != running || string(again.Input) != `{"a":1}` || again.Timeout != first.Timeout || first.Handed != 0 || again.Handed != 1 {
		t.Errorf("first job taken = %+v, want the one that was running, handed out once before", again)
	}
	b.done(image(again.ID, 1))
	for _, id := range queued {
		if j := b.takeOne(); j.ID != id {
			t.Errorf("took %s, want %s", j.ID, id)
		}
	}
	b.want(http.StatusOK, "POST", "/retry/"+broken, "")
	if j := b.takeOne(); j.ID != broken || string(j.Input) != `{"workflow":{"1":{}}}` {
		t.Errorf("retried job = %+v", j)
	}
	if newest := b.list("?limit=1").Jobs[0].ID; newest != queued[2] {
		t.Errorf("newest job = %s, want %s", newest, queued[2])
	}
}

// A job that is running each time that comfyvisor comes to a sudden end is not
// tried for ever.
func TestJobThatIsLostAgainAndAgainFails(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	id := a.submitJob()
	for range maxLost {
		j := a.takeOne()
		a.Progress(j.ID, job.Progress{Attempt: 1})
		dir = killed(t, dir)
		a = serve(t, Config{SpoolDir: dir})
	}
	if d := a.detail(id); d.Status != failed || d.Cause == nil || *d.Cause != "pod_lost" {
		t.Errorf("job = %+v, want FAILED with pod_lost", d)
	}
	a.want(http.StatusOK, "POST", "/retry/"+id, "")
	if j := a.takeOne(); j.Handed != maxLost {
		t.Errorf("handed out %d times before, want %d", j.Handed, maxLost)
	}
}

// At an orderly stop what waits is kept, and so is a job that did not end in
// time; but a client that waits is told, and its job is not run behind its back.
func TestStopKeepsJobsForTheNextStart(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	running := a.submitJob()
	a.takeOne()
	queued := a.submitJob()
	waiting := a.inBackground("POST", "/runsync", someJob)
	for a.store.count().InQueue < 2 {
		runtime.Gosched()
	}
	a.done(failure(running, causeShutdown))
	if got := a.stateOf(running); got != inQueue {
		t.Errorf("state = %s, want IN_QUEUE", got)
	}
	_ = a.stop()
	told := <-waiting
	if told.code != http.StatusServiceUnavailable || told.job(t).Status != failed {
		t.Errorf("waiting client was told %d %s", told.code, told.body)
	}
	b := serve(t, Config{SpoolDir: dir})
	for _, want := range []string{running, queued} {
		if j := b.takeOne(); j.ID != want {
			t.Errorf("took %s, want %s", j.ID, want)
		}
	}
	if got := b.stateOf(told.job(t).ID); got != failed {
		t.Errorf("the job of the client that waited is %s", got)
	}
}

func TestLostResultFileFailsTheJob(t *testing.T) {
	for name, harm := range map[string]func(string) error{
		"gone": os.Remove, "cut": func(path string) error { return os.Truncate(path, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := serve(t, Config{SpoolDir: dir})
			id := a.finished(job.File{Filename: "a", Kind: "images", Content: contentOf(random(100))})
			left := killed(t, dir)
			if err := harm(resultsIn(t, left)[0]); err != nil {
				t.Fatal(err)
			}
			b := serve(t, Config{SpoolDir: left})
			if d := b.detail(id); d.Status != failed || *d.Cause != "output_fetch_failed" {
				t.Errorf("job = %+v, want FAILED", d)
			}
		})
	}
}

func TestKeptJobsAreForgottenInTime(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir, Keep: Keep{Jobs: 2}})
	var all []string
	for i := range 4 {
		all = append(all, a.finished(job.File{Filename: "a", Kind: "images", Content: contentOf(random(i))}))
	}
	_ = a.stop()
	b := serve(t, Config{SpoolDir: dir, Keep: Keep{Jobs: 2}})
	for i, id := range all {
		want := http.StatusOK
		if i < 2 {
			want = http.StatusNotFound
		}
		b.want(want, "GET", "/status/"+id, "")
	}
	if n := len(resultsIn(t, dir)); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
}

// A second comfyvisor on the same directory goes on in memory, soon, and touches
// nothing of the first one's.
func TestDirectoryOfAnotherProcessIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	id := a.finished(job.File{Filename: "a", Kind: "images", Content: contentOf(random(9))})
	core, logged := observer.New(zapcore.WarnLevel)
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(Config{SpoolDir: dir}, l, zap.New(core))
	if s.store.journal != nil || s.spool.dir != "" {
		t.Error("the second one keeps files there, too")
	}
	if n := logged.FilterField(zap.Error(errLocked)).Len(); n != 1 {
		t.Errorf("warned %d times of the lock, want once: %v", n, logged.All())
	}
	a.want(http.StatusOK, "GET", "/status/"+id, "")
	if n := len(resultsIn(t, dir)); n != 1 {
		t.Errorf("%d files of the first one, want 1", n)
	}
}

// A damaged file, wherever and however it is damaged, is set aside at the start
// or goes unnoticed, and jobs are kept again.
func TestDamagedFileOfJobsIsSetAside(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	for i := range 30 {
		a.want(http.StatusOK, "POST", "/run", fmt.Sprintf(`{"input":{"n":%d,"text":%q}}`, i, strings.Repeat("x", 3000)))
	}
	whole, err := os.ReadFile(filepath.Join(killed(t, dir), journalFile))
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	aside := 0
	for round := range 40 {
		harmed := bytes.Clone(whole)
		switch round % 4 {
		case 0: // cut
			harmed = harmed[:rnd.IntN(len(harmed))]
		case 1: // a page overwritten
			from := rnd.IntN(len(harmed)/4096) * 4096
			for i := range 4096 {
				harmed[from+i] = byte(rnd.Uint32())
			}
		case 2: // zeros to the end
			clear(harmed[rnd.IntN(len(harmed)):])
		default: // some bytes
			for range 50 {
				harmed[rnd.IntN(len(harmed))] ^= byte(1 + rnd.IntN(255))
			}
		}
		left := t.TempDir()
		if err := os.WriteFile(filepath.Join(left, journalFile), harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		b := serveQuietly(t, left)
		id := b.submitJob()
		_ = b.stop()
		again := serveQuietly(t, left)
		again.want(http.StatusOK, "GET", "/status/"+id, "")
		_ = again.stop()
		names, err := filepath.Glob(filepath.Join(left, journalFile+".corrupt-*"))
		if err != nil {
			t.Fatal(err)
		}
		aside += len(names)
	}
	if aside == 0 {
		t.Error("no file was set aside: the damage is none")
	}
}

func serveQuietly(t *testing.T, dir string) *api {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, Config{SpoolDir: dir}, l, "http://"+l.Addr().String(), &http.Transport{}, zap.NewNop())
}

// While nothing can be written jobs are taken all the same, and what changed is
// written later, inputs included.
func TestChangesAreWrittenWhenTheDiskIsBack(t *testing.T) {
	dir := t.TempDir()
	core, logged := observer.New(zapcore.InfoLevel)
	j, _, err := openJournal(dir, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	j.put("a", []byte(`{"State":"IN_QUEUE"}`), json.RawMessage(`{"n":1}`))
	if err := j.db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := j.write(); err == nil {
			t.Fatal("written to a closed file")
		}
		j.settle(t.Context()) // does not wait for it
		j.put("a", []byte(`{"State":"IN_PROGRESS"}`), nil)
	}
	if j.db, err = bolt.Open(j.path, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if err := j.write(); err != nil {
		t.Fatal(err)
	}
	j.settle(t.Context())
	if j.done != j.last || logged.FilterLevelExact(zap.ErrorLevel).Len() != 1 || logged.FilterLevelExact(zap.InfoLevel).Len() != 1 {
		t.Errorf("done %d of %d; logged %v, want the loss and its end once each", j.done, j.last, logged.All())
	}
	if err := j.db.Close(); err != nil {
		t.Fatal(err)
	}
	db, kept, err := loadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if got := kept["a"]; got.State != inProgress || string(got.input) != `{"n":1}` {
		t.Errorf("kept %+v with input %s", got, got.input)
	}
}

// A file that breaks while it is in use is replaced by one with everything in it.
func TestFileThatBreaksInUseIsReplaced(t *testing.T) {
	dir := t.TempDir()
	core, logged := observer.New(zapcore.ErrorLevel)
	j, _, err := openJournal(dir, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	j.all = func() map[string]change {
		return map[string]change{"a": {[]byte(`{"State":"IN_QUEUE"}`), json.RawMessage(`{}`)}, "b": {[]byte(`{"State":"FAILED"}`), nil}}
	}
	if err := os.Truncate(j.path, 0); err != nil {
		t.Fatal(err)
	}
	j.put("a", []byte(`{"State":"IN_QUEUE"}`), json.RawMessage(`{}`))
	if err := j.write(); err != nil {
		t.Fatalf("write = %v; logged %v", err, logged.All())
	}
	if err := j.db.Close(); err != nil {
		t.Fatal(err)
	}
	db, kept, err := loadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if len(kept) != 2 || logged.Len() != 1 {
		t.Errorf("kept %v; logged %v", kept, logged.All())
	}
}

// Inputs may have keys in them: the file is for its owner alone, and what has
// ended for good keeps none.
func TestFileOfJobsIsPrivate(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	const canary = "sk-canary-0123456789"
	id := a.want(http.StatusOK, "POST", "/run", `{"input":{"api_key_comfy_org":"`+canary+`"}}`).job(t).ID
	info, err := os.Stat(filepath.Join(dir, journalFile))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	a.takeOne()
	a.done(image(id, 1))
	_ = a.stop()
	db, kept, err := loadFile(filepath.Join(dir, journalFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if input := string(kept[id].input); strings.Contains(input, canary) {
		t.Errorf("input of the ended job = %s", input)
	}
}

// Many clients at once share the writes to the disk.
func TestAnswersWaitForTheDiskTogether(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answers := make(chan error)
	const clients = 32
	for range clients {
		go func() {
			_, err := a.try("POST", "/run", someJob)
			answers <- err
		}()
	}
	for range clients {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	a.store.journal.settle(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("the journal does not settle")
	}
	a.store.journal.mu.Lock()
	defer a.store.journal.mu.Unlock()
	if len(a.store.journal.pending) != 0 {
		t.Errorf("%d changes are pending", len(a.store.journal.pending))
	}
}
