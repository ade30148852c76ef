package supervisor

import (
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of what is between the process and the reader of its lines.
const (
	readSize = 256 << 10 // one read
	pipeSize = 1 << 20   // the kernel's pipe, so that the process rarely waits
)

// A relay reads what one incarnation writes, as fast as it comes.
type relay struct {
	s           *Supervisor
	incarnation int

	stdout, stderr *os.File // ends for the process to write to
	out, err       *os.File // ends that are read

	tail tail
	wg   sync.WaitGroup // of the two readers
}

func newRelay(s *Supervisor, incarnation int) (*relay, error) {
	r := &relay{s: s, incarnation: incarnation}
	var failed [2]error
	r.out, r.stdout, failed[0] = pipe()
	r.err, r.stderr, failed[1] = pipe()
	if err := errors.Join(failed[:]...); err != nil {
		for _, f := range []*os.File{r.out, r.stdout, r.err, r.stderr} {
			_ = f.Close() // nil is fine
		}
		return nil, err
	}
	return r, nil
}

func pipe() (read, write *os.File, err error) {
	read, write, err = os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if raw, err := read.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			// A user may have used up what the kernel allows; then it stays small.
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
		})
	}
	return read, write, nil
}

// started is called when the process has its ends, or never will.
func (r *relay) started() {
	_ = r.stdout.Close()
	_ = r.stderr.Close()
	r.wg.Go(func() { r.read(r.out, "stdout") })
	r.wg.Go(func() { r.read(r.err, "stderr") })
}

// finish returns when everything has been read, or after the delay: whatever
// still holds the pipes then is not worth waiting for.
func (r *relay) finish(delay time.Duration) {
	late := time.AfterFunc(delay, func() {
		_ = r.out.Close()
		_ = r.err.Close()
	})
	r.wg.Wait()
	late.Stop()
	_ = r.out.Close()
	_ = r.err.Close()
}

func (r *relay) read(from *os.File, stream string) {
	var (
		split splitter
		batch []Line
		now   time.Time
		drops int
		buf   = make([]byte, readSize)
	)
	line := func(text []byte, cut bool) {
		r.tail.add(text)
		if !r.s.lines.allow(now, len(text)) {
			drops++
			return
		}
		batch = append(batch, Line{Stream: stream, Text: printable(text), Incarnation: r.incarnation, Time: now, Cut: cut})
	}
	for {
		n, err := from.Read(buf)
		now = time.Now()
		r.s.output.Add(uint64(n))
		split.write(buf[:n], line)
		if err != nil { // the end of the file, or finish closed it
			split.flush(line)
		}
		r.s.lines.push(batch, drops)
		clear(batch)
		batch, drops = batch[:0], 0
		if err != nil {
			return
		}
	}
}

// tailLines is how many of the last lines an Exit tells, tailWidth how much of
// each.
const (
	tailLines = 20
	tailWidth = 4 << 10
)

// A tail keeps the last lines that are not blank. It takes every line, also
// those that are dropped.
type tail struct {
	mu   sync.Mutex
	kept [tailLines][]byte // a ring, whose buffers are used again
	next int
}

func (t *tail) add(line []byte) {
	if len(line) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept[t.next] = append(t.kept[t.next][:0], line[:min(len(line), tailWidth)]...)
	t.next = (t.next + 1) % tailLines
}

func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, line := range slices.Concat(t.kept[t.next:], t.kept[:t.next]) {
		if line != nil {
			lines = append(lines, StripANSI(printable(line)))
		}
	}
	return lines
}
