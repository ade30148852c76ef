package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// spam writes so many MiB of lines, one line of so many MiB without end, and a
// last word.
func spam(arg string) {
	n, _ := strconv.Atoi(arg)
	lines := bytes.Repeat([]byte("\xff\x00 0123456789 0123456789 0123456789 0123456789 0123456789 01234\n"), 1<<20/70)
	for range n {
		_, _ = os.Stdout.Write(lines)
	}
	endless := bytes.Repeat([]byte("x"), 1<<20)
	for range n {
		_, _ = os.Stdout.Write(endless)
	}
	say("\nlast word")
	os.Exit(3)
}

// eat takes memory until it is killed.
func eat(string) {
	var eaten [][]byte
	for {
		eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
		eaten[0][0]++
	}
}

// execInPlace becomes another program under the same pid.
func execInPlace(string) {
	say("first " + strconv.Itoa(os.Getpid()))
	env := []string{modeEnv + "=sleep"}
	_ = unix.Exec("/proc/self/exe", []string{"second"}, env)
}

// host supervises a shell script until its first exit, as a program of its
// own, and tells about itself.
func host(script string) {
	fmt.Println("host pid", os.Getpid())
	reaper := NewReaper(zap.NewNop())
	var reaping sync.WaitGroup
	done, stop := context.WithCancel(context.Background())
	reaping.Go(func() { _ = reaper.Run(done) })
	ctx, cancel := context.WithCancel(context.Background())
	cfg := sh(Config{Policy: quick()}, script)
	cfg.Lines = func(l Line) { fmt.Println(l.Text) }
	cfg.Observe = func(tr Transition) {
		if tr.To == StateBackoff {
			fmt.Println("host exit", tr.Exit.Error())
			cancel()
		}
	}
	err := New(cfg, reaper, zap.NewNop()).Run(ctx)
	stop()
	reaping.Wait()
	fmt.Println("host zombies", len(zombies()))
	fmt.Println("host end", err)
}

// oomNest joins a memory cgroup and supervises a process that eats it up.
func oomNest(dir string) {
	join(dir)
	ctx, cancel := context.WithCancel(context.Background())
	cfg := as(Config{Policy: quick(), OOMScoreAdj: 500}, "eat")
	cfg.Observe = func(tr Transition) {
		if tr.To == StateBackoff {
			fmt.Println("exit", tr.Exit.Error())
			cancel()
		}
	}
	err := New(cfg, NewReaper(zap.NewNop()), zap.NewNop()).Run(ctx)
	fmt.Println("end", err)
}

// pidsNest joins a pids cgroup and supervises a process that forks until there
// is no room, three times.
func pidsNest(dir string) {
	Prewarm(24)
	join(dir)
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	cfg := sh(Config{Policy: quick()}, "while :; do sleep 1000 & done")
	cfg.Observe = func(tr Transition) {
		fmt.Fprintln(&log, tr.To, tr.Incarnation, tr.Reason)
		if tr.To == StateBackoff && tr.Incarnation == 3 {
			cancel()
		}
	}
	err := New(cfg, NewReaper(zap.NewNop()), zap.NewNop()).Run(ctx)
	fmt.Print(log.String())
	fmt.Println("end", err)
}

// needThreads joins a pids cgroup and then blocks in so many system calls at
// once, each of which takes a thread. The argument is how many threads to make
// before, and the cgroup.
func needThreads(arg string) {
	count, dir, _ := strings.Cut(arg, " ")
	n, _ := strconv.Atoi(count)
	Prewarm(n)
	join(dir)
	tasks, _ := readNames("/proc/self/task")
	_ = os.WriteFile(dir+"/pids.max", []byte(strconv.Itoa(len(tasks))), 0)
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		panic(err)
	}
	const calls = 16
	var entered, left sync.WaitGroup
	entered.Add(calls)
	for range calls {
		left.Go(func() {
			entered.Done()
			_, _ = unix.Read(fds[0], make([]byte, 1)) // a plain read, that holds its thread
		})
	}
	entered.Wait()
	err := exec.Command("/bin/true").Run()
	fmt.Println("survived, fork says", errors.Is(err, unix.EAGAIN))
	for range calls {
		_, _ = unix.Write(fds[1], []byte{0})
	}
	left.Wait()
}
