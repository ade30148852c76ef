package supervisor

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// BenchmarkRelay relays lines of 100 bytes through a real pipe to a reader that
// keeps up: all of them, and at the default rate.
func BenchmarkRelay(b *testing.B) {
	for name, rate := range map[string]int{"all": 1 << 40, "flood": DefaultLineRate} {
		b.Run(name, func(b *testing.B) {
			s := New(Config{LineRate: rate}, nil, zap.NewNop())
			done := make(chan struct{})
			go func() { defer close(done); s.lines.deliver(func(Line) {}) }()
			r, err := newRelay(s, 1)
			if err != nil {
				b.Fatal(err)
			}
			stdout, err := unix.Dup(int(r.stdout.Fd()))
			if err != nil {
				b.Fatal(err)
			}
			write := os.NewFile(uintptr(stdout), "stdout")
			r.started()
			chunk := bytes.Repeat(append(bytes.Repeat([]byte("x"), 99), '\n'), 10000)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := write.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			_ = write.Close()
			r.finish(time.Minute)
			s.lines.close()
			<-done
		})
	}
}

// BenchmarkRestart measures from SIGKILL to the next start.
func BenchmarkRestart(b *testing.B) {
	reaper := NewReaper(zap.NewNop())
	running := make(chan int, 1)
	cfg := Config{Path: "/bin/sleep", Args: []string{"1000"}, Policy: quick()}
	cfg.Observe = func(tr Transition) {
		if tr.To == StateRunning {
			running <- tr.Incarnation
		}
	}
	s := New(cfg, reaper, zap.NewNop())
	ended := make(chan error, 1)
	hurry := make(chan struct{})
	s.cfg.Hurry = hurry
	go func() { ended <- s.Run(b.Context()) }()
	<-running
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		_ = unix.Kill(s.Status().PID, unix.SIGKILL)
		<-running
		took = append(took, time.Since(began))
	}
	close(hurry)
	<-ended
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}
