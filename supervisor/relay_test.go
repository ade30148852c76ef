package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestLinesAreRelayed(t *testing.T) {
	r := rigUp(t, sh(Config{}, `echo one; echo two >&2; printf 'three\rfour\r\nfive'; exec >&- 2>&-; exec sleep 1000`))
	var got []string
	for range 5 {
		l := receive(t, r.lines, "line")
		if l.Incarnation != 1 || l.Time.IsZero() {
			t.Errorf("line %+v, want incarnation 1 and a time", l)
		}
		got = append(got, l.Stream+" "+l.Text)
	}
	slices.Sort(got)
	want := []string{"stderr two", "stdout five", "stdout four", "stdout one", "stdout three"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestExitTellsTheLastLines(t *testing.T) {
	r := rigUp(t, sh(Config{}, `i=0; while [ $i -lt 50 ]; do echo line $i; echo; i=$((i+1)); done
		printf '\033[1m\033[31m[ERROR]\033[0m no CUDA\nand no newline'; exit 1`))
	tail := r.until(StateBackoff).Exit.Tail
	var want []string
	for i := 32; i < 50; i++ {
		want = append(want, fmt.Sprintf("line %d", i))
	}
	want = append(want, "[ERROR] no CUDA", "and no newline")
	if diff := cmp.Diff(want, tail); diff != "" {
		t.Errorf("tail (-want +got):\n%s", diff)
	}
}

// A flood of lines, a line without end and bytes that are no text neither stop the process nor fill the memory.
func TestFault_C13_LogFlood(t *testing.T) {
	const mib = 32 // of lines, and again in one line
	var lines, dropped, bad atomic.Int64
	cfg := as(Config{}, fmt.Sprint("spam ", mib))
	cfg.Lines = func(l Line) {
		if l.Incarnation > 1 {
			return
		}
		if l.Dropped > 0 {
			dropped.Add(int64(l.Dropped))
			return
		}
		lines.Add(1)
		if len(l.Text) > lineLimit || !utf8.ValidString(l.Text) || strings.ContainsRune(l.Text, 0) {
			bad.Add(1)
		}
	}
	before := liveHeap()
	r := rigUp(t, cfg)
	exit := r.until(StateBackoff).Exit
	if grown := liveHeap() - before; grown > 8<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if n := len(exit.Tail); exit.Code != 3 || n == 0 || exit.Tail[n-1] != "last word" {
		t.Errorf("exit = %v with tail %.200q, want code 3 and the last word", exit, exit.Tail)
	}
	r.stop()
	if bad.Load() > 0 {
		t.Errorf("%d lines are too long or no text", bad.Load())
	}
	// The rate lets through what one burst holds and then so many in a second.
	all := int64(mib) * (1 << 20 / 70)
	if lines.Load() > all/2 || dropped.Load() < all/2 {
		t.Errorf("%d of %d lines relayed, %d told as dropped: no limit", lines.Load(), all, dropped.Load())
	}
}

// A line that is longer than 64 KiB is cut there, and said to be; the next one is whole.
func TestFault_C13_LongLineIsCut(t *testing.T) {
	r := rigUp(t, sh(Config{}, `head -c 200000 /dev/zero | tr '\0' x; echo; echo after; exec sleep 1000`))
	long, after := receive(t, r.lines, "line"), receive(t, r.lines, "line")
	if len(long.Text) != lineLimit || !long.Cut {
		t.Errorf("a line of %d bytes, cut: %t, want %d, cut", len(long.Text), long.Cut, lineLimit)
	}
	if after.Text != "after" || after.Cut {
		t.Errorf("the line after it: %+v", after)
	}
}

func liveHeap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A reader of the lines that hangs holds up neither the process nor its restart nor the stop.
func TestFault_C14_ReaderOfLinesHangs(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	cfg := as(Config{LineRate: 1 << 40}, "spam 4")
	cfg.Lines = func(Line) { <-hang }
	before := liveHeap()
	r := rigUp(t, cfg)
	for range 2 {
		if exit := r.until(StateBackoff).Exit; exit.Code != 3 {
			t.Errorf("exit = %v, want code 3", exit)
		}
	}
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if grown := liveHeap() - before; grown > 8<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

func TestQueueDropsTheOldestAndTellsHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newLineQueue(DefaultLineRate)
		const n = 100000
		for i := range n {
			q.push([]Line{{Text: fmt.Sprint(i)}}, 0)
		}
		if q.size > queueBytes {
			t.Errorf("%d bytes wait, want at most %d", q.size, queueBytes)
		}
		var got []Line
		q.close()
		q.deliver(func(l Line) { got = append(got, l) })
		last, told := got[len(got)-2], got[len(got)-1]
		if last.Text != fmt.Sprint(n-1) {
			t.Errorf("last line %q, want the newest", last.Text)
		}
		if want := n - (len(got) - 1); told.Dropped != want || told.Text != fmt.Sprintf("%d lines dropped", want) {
			t.Errorf("told %+v, want %d dropped", told, want)
		}
	})
}

func TestDropsAreToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newLineQueue(DefaultLineRate)
		var told []int
		var delivering sync.WaitGroup
		delivering.Go(func() { q.deliver(func(l Line) { told = append(told, l.Dropped) }) })
		for range 35 {
			q.push(nil, 10)
			<-time.After(100 * time.Millisecond)
		}
		q.close()
		delivering.Wait()
		sum := 0
		for _, n := range told {
			sum += n
		}
		if len(told) != 4 || sum != 350 {
			t.Errorf("told %v, want 350 in four lines", told)
		}
	})
}

func TestRateCountsLongLinesForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newLineQueue(1000)
		allowed := func(size int) (n int) {
			for range 10 * 1000 {
				if q.allow(time.Now(), size) {
					n++
				}
			}
			return n
		}
		if n := allowed(100); n != 1000 {
			t.Errorf("%d short lines at once, want 1000", n)
		}
		<-time.After(time.Second)
		if n, want := allowed(lineLimit), 1000/(1+lineLimit/lineCost); n != want {
			t.Errorf("%d of the longest lines in a second, want %d", n, want)
		}
	})
}
