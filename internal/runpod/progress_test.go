package runpod_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// Progress is posted at most once per interval and job, the latest wins, and none follows the result, whenever that comes.
func TestFault_R8_NoProgressAfterResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		c, _ := start(t, config(q))
		random := rand.New(rand.NewPCG(3, 4))
		sent := 0
		for i := range 300 {
			id := fmt.Sprint("job-", i)
			q.Submit(id, `{}`)
			takeOne(t, c, id)
			// The progress is slow on its way, or hangs until it is given up.
			// Never just as long as it is waited for, which would be a draw.
			late := time.Duration(random.IntN(50))*100*time.Millisecond + 50*time.Millisecond
			q.Heal()
			q.Inject(runpodtest.Fault{Call: runpodtest.Progress, For: time.Hour, Hang: late})
			for range random.IntN(50) {
				c.Progress(id, job.Progress{Percent: 50})
				<-time.After(100 * time.Millisecond)
			}
			begun := time.Now()
			finish(t, c, completed(id))
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("the result was held up for %s, want at most 2s", took)
			}
			c.Progress(id, job.Progress{Percent: 100})
			n := len(q.Job(id).Progress)
			sent += n
			if n > 4 {
				t.Errorf("%d posts of progress within 5s", n)
			}
		}
		synctest.Wait()
		check(t, q)
		if sent < 100 {
			t.Errorf("only %d posts of progress in all", sent)
		}
	})
}

// While a result is posted again because its answer was lost, no progress is posted.
func TestFault_R8_NoProgressBetweenTriesOfTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		c := taken(t, q, config(q))
		q.Inject(runpodtest.Fault{Call: runpodtest.Done, For: time.Minute, Act: true, Cut: true})
		delivered := make(chan error)
		go func() { delivered <- c.Done(t.Context(), completed("job")) }()
		for range 30 {
			<-time.After(time.Second)
			c.Progress("job", job.Progress{Percent: 50})
		}
		if err := <-delivered; err != nil {
			t.Fatal(err)
		}
		check(t, q)
	})
}

// Progress is dropped, and nothing else, when its posts fail or nobody knows the job.
func TestFault_R8_LostProgressHarmsNothing(t *testing.T) {
	for name, f := range map[string]runpodtest.Fault{"500": {Status: 500}, "reset": {Cut: true}, "400": {Status: 400}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				c := taken(t, q, config(q))
				f.Call, f.Times = runpodtest.Progress, 2
				q.Inject(f)
				for range 50 {
					c.Progress("job", job.Progress{Percent: 10})
					c.Progress("unknown", job.Progress{Percent: 10})
					<-time.After(100 * time.Millisecond)
				}
				finish(t, c, completed("job"))
				if n := len(q.Job("job").Progress); n != 1 {
					t.Errorf("%d posts arrived in 5s after 2 were lost, want 1", n)
				}
				check(t, q)
			})
		})
	}
}

// Previews go to the stream, at most one per interval and none after the result; while progress is due they wait, and without a stream they are dropped.
func TestFault_R8_PreviewsComeLastAndNeverAfterTheResult(t *testing.T) {
	shown := job.Progress{Percent: 40, Preview: &job.Preview{MIME: "image/jpeg", Data: []byte("picture")}}
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprint("stream ", streamed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				cfg := config(q)
				if !streamed {
					cfg.StreamURL = runpod.Template{}
				}
				c := taken(t, q, cfg)
				for range 99 {
					c.Progress("job", shown)
					c.Progress("job", job.Progress{Percent: 40})
					<-time.After(100 * time.Millisecond)
				}
				q.Inject(runpodtest.Fault{Call: runpodtest.Stream, For: time.Hour, Hang: time.Second})
				c.Progress("job", shown)
				<-time.After(2 * time.Second) // one is on its way now
				c.Progress("job", shown)
				finish(t, c, completed("job"))
				c.Progress("job", shown)
				<-time.After(time.Minute)

				known := q.Job("job")
				if n := len(known.Progress); n != 6 {
					t.Errorf("%d posts of progress in 10 s, want 6", n)
				}
				want := 0
				if streamed {
					want = 6
				}
				if n := len(known.Stream); n != want {
					t.Errorf("%d previews in 12 s, want %d", n, want)
				}
				for _, chunk := range known.Stream {
					if got, want := string(chunk.Output), `{"percent":40,"phase":"","preview":{"mime_type":"image/jpeg","data":"cGljdHVyZQ=="}}`; got != want {
						t.Errorf("preview %s, want %s", got, want)
					}
				}
				check(t, q)
			})
		})
	}
}

// A hurried stop has a moment left, which belongs to the result: progress that hangs is cut for it.
func TestFault_P3_HurryCutsProgressForTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		cfg := config(q)
		hurry := make(chan struct{})
		cfg.Hurry = hurry
		c := taken(t, q, cfg)
		q.Inject(runpodtest.Fault{Call: runpodtest.Progress, Hang: time.Hour})
		c.Progress("job", job.Progress{Percent: 50})
		synctest.Wait()
		begun := time.Now()
		time.AfterFunc(500*time.Millisecond, func() { close(hurry) })
		finish(t, c, completed("job"))
		if d := time.Since(begun); d != 500*time.Millisecond {
			t.Errorf("the result was told after %v, want 500ms", d)
		}
		check(t, q)
	})
}
