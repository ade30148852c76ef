package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// text is a workflow that takes no time.
const text = `{"1":{"class_type":"SimText","inputs":{"text":"x"}}}`

// starts measures a start with secrets to hide, on to the result of a job that
// waits in the queue. The stand's ComfyUI answers from the beginning.
func starts(b *testing.B) []figure {
	s := newStand(b)
	post := newSignpost(b, s, "")
	var execs, least, gates, takes, results []time.Duration
	for b.Loop() {
		least = append(least, bareStart(b, post))

		asked := len(s.comfy.Requests())
		s.submit(text)
		p := s.launch(post)
		execs = append(execs, await(b, post.marks).at.Sub(p.at))
		gate := await(b, p.gate)
		r := s.results(1)
		answered := s.comfy.Requests()[asked].Time
		gates = append(gates, gate.Sub(answered))
		takes = append(takes, await(b, s.queue.asked).Sub(gate))
		results = append(results, r.delivered[0].at.Sub(answered))
		p.stop()
	}
	return []figure{
		medians("exec to ComfyUI's exec", execs, least),
		medians("ComfyUI's first answer to gate open", gates, nil),
		medians("gate open to first take", takes, nil),
		medians("ComfyUI's first answer to first result", results, nil),
	}
}

// bareStart is the time from exec to the script's first word with nothing
// between.
func bareStart(b *testing.B, post *signpost) time.Duration {
	b.Helper()
	cmd := exec.Command(post.script)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	took := await(b, post.marks).at.Sub(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	return took
}

// crashes measures the time from the death of ComfyUI to its next start.
func crashes(b *testing.B) []figure {
	s := newStand(b)
	post := newSignpost(b, s, "")
	other := newSignpost(b, s, "") // on a port of its own, which it may come to take
	p := s.launch(post)
	defer p.stop()
	var took, least []time.Duration
	started := await(b, post.marks)
	for b.Loop() {
		pid, err := strconv.Atoi(started.text)
		if err != nil {
			b.Fatal(err)
		}
		await(b, p.gate)
		s.round(1, text) // which makes its crash the first in a row
		began := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		started = await(b, post.marks)
		took = append(took, started.at.Sub(began))

		least = append(least, bareStart(b, other))
	}
	p50, p99 := quantiles(took, least)
	return []figure{p50, p99}
}

// relay measures how fast ComfyUI's output is taken from it.
func relay(b *testing.B) []figure {
	const size = 50_000_000
	flood := filepath.Join(b.TempDir(), "flood")
	line := strings.Repeat("x", 99) + "\n"
	if err := os.WriteFile(flood, []byte(strings.Repeat(line, size/len(line))), 0o600); err != nil {
		b.Fatal(err)
	}
	s := newStand(b)
	post := newSignpost(b, s, "cat "+flood+"\necho end >SIGNPOST")
	rate := func() float64 {
		began := await(b, post.marks).at
		return size / 1e6 / await(b, post.marks).at.Sub(began).Seconds()
	}
	var rates, most []float64
	for b.Loop() {
		p := s.launch(post)
		rates = append(rates, rate())
		p.stop()

		cmd := exec.Command(post.script)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		read := make(chan struct{})
		go func() { defer close(read); _, _ = io.Copy(io.Discard, out) }()
		most = append(most, rate())
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // killed
	}
	ours, floor := median(rates), median(most)
	each := func(rate float64) float64 { return 100 / rate } // 100 bytes at so many MB/s, in µs
	return []figure{
		{of: "median", unit: "MB/s", ours: ours, floor: floor},
		{of: "cost of a line to ComfyUI", unit: "µs", ours: each(ours), floor: each(floor)},
	}
}

// The idle program is watched for idleFor, in which it does all that it does again and
// again, when it has started since idleAfter.
const (
	idleAfter = 3 * time.Second
	idleFor   = 15 * time.Second
)

// idle measures memory and processor of the program that waits for jobs.
func idle(b *testing.B) []figure {
	s := newStand(b)
	post := newSignpost(b, s, "")
	var memory, busy []float64
	for b.Loop() {
		p := s.launch(post)
		await(b, post.marks)
		await(b, p.gate)
		await(b, s.queue.asked)
		await(b, time.After(idleAfter))
		before := p.processor()
		await(b, time.After(idleFor))
		busy = append(busy, millis(p.processor()-before)/idleFor.Seconds())
		memory = append(memory, p.memory("VmRSS"))
		p.stop()
	}
	return []figure{
		{of: "memory", unit: "MB", ours: median(memory), floor: bareMemory(b)},
		{of: "processor", unit: "ms/s", ours: median(busy)},
	}
}

// bareMemory is what a Go program needs that does nothing but serve HTTP.
func bareMemory(b *testing.B) float64 {
	b.Helper()
	cmd := exec.Command(buildSource(b, "nothing", `package main

import "net/http"

func main() { println("ready"); http.ListenAndServe("127.0.0.1:0", nil) }
`))
	out, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		b.Fatal(err)
	}
	memory := memoryOf(b, cmd.Process.Pid, "VmRSS")
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed
	return memory
}

// passing measures the largest memory of the program that delivers results of
// count files of so many bytes.
func passing(jobs, count, bytes int) func(*testing.B) []figure {
	return func(b *testing.B) []figure {
		var peaks []float64
		for b.Loop() {
			s := newStand(b)
			p := s.launch(newSignpost(b, s, ""))
			for range jobs {
				s.round(1, imageFiles(count, bytes))
			}
			peaks = append(peaks, p.memory("VmHWM"))
			p.stop()
		}
		return []figure{{of: "peak", unit: "MB", ours: median(peaks)}}
	}
}
