package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// oomKills is how many processes the kernel has to kill. After about one in ten
// it takes the supervisor too, if there are no decoys.
const oomKills = 10

// oomMany joins a memory cgroup and supervises a process that eats it up, so
// many times, while it asks for pages all the time itself. The argument is how many
// decoys there are, how many times, and the cgroup.
func oomMany(arg string) {
	var decoys, kills int
	var dir string
	if _, err := fmt.Sscan(arg, &decoys, &kills, &dir); err != nil {
		panic(err)
	}
	join(dir)
	reaper := NewReaper(zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	var beside sync.WaitGroup
	members := 1 + decoys
	beside.Go(func() { _ = reaper.Decoys(ctx, decoys, 500, "/bin/sh", "-c", "read nothing") })
	awaitMembers(dir, members)
	beside.Go(func() { wantPages(ctx) })
	cfg := as(Config{Policy: quick(), OOMScoreAdj: 500}, "eat")
	cfg.Observe = func(tr Transition) {
		if tr.To == StateBackoff {
			fmt.Println("exit", tr.Exit.Error())
			awaitMembers(dir, members) // a real process does not run out of memory so soon
		}
		if tr.To == StateBackoff && tr.Incarnation == kills {
			cancel()
		}
	}
	err := New(cfg, reaper, zap.NewNop()).Run(ctx)
	beside.Wait()
	fmt.Println("end", err)
}

// awaitMembers returns when so many processes are in a cgroup.
func awaitMembers(dir string, count int) {
	for range time.Tick(time.Millisecond) {
		if procs, err := os.ReadFile(dir + "/cgroup.procs"); err == nil && bytes.Count(procs, []byte("\n")) >= count {
			return
		}
	}
}

// wantPages asks the kernel for a page, gives it back, and so on until ctx ends.
func wantPages(ctx context.Context) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	for ctx.Err() == nil {
		page[0] = 1
		if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
			panic(err)
		}
	}
}

func oomLimit(t *testing.T) string {
	return cgroup(t, "memory", map[string]string{"memory.limit_in_bytes": "134217728"})
}

// The kernel kills the process when memory runs out, and never the supervisor, although that asks for memory all the time: while the dead process's is not free yet, a decoy goes in its place.
func TestFault_C1_DecoyDiesInOurPlace(t *testing.T) {
	out, err := reexec(t, fmt.Sprint("oom-many 3 ", oomKills, " ", oomLimit(t)))
	if err != nil {
		t.Fatalf("the supervisor died: %v\n%s", err, out)
	}
	if n := strings.Count(out, "exit killed by SIGKILL (out of memory: "); n != oomKills || !strings.Contains(out, "end context canceled") {
		t.Errorf("%d kills, want %d:\n%s", n, oomKills, out)
	}
}

// The twin: without the decoy the kernel takes the supervisor too, although the process has the higher score and nearly all of the memory.
func TestFault_C1_TwinUnsparedSupervisorDies(t *testing.T) {
	_, err := reexec(t, fmt.Sprint("oom-many 0 ", 100*oomKills, " ", oomLimit(t)))
	if err == nil {
		t.Errorf("the supervisor survived %d kills", 100*oomKills)
	}
}
