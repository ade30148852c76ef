package supervisor

import (
	"runtime"
	"sync"
)

// Prewarm makes n operating system threads and keeps them for later. It is
// called once at the start of the program: when the limit of processes is
// reached later, which a child can do that forks without end, Go cannot make
// the thread that it happens to need and ends the whole program.
func Prewarm(n int) {
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for range n {
		done.Go(func() {
			// Threads that are held at the same time are different ones. Given
			// back, they wait to be used again, and never end.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-release
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
}
