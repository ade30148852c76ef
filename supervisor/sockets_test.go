package supervisor

import (
	"net"
	"slices"
	"testing"
)

// What the kernel answers and what /proc shows are the same sockets.
func TestListenersAreTheSameByBothWays(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0", "127.0.0.2:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s cannot be listened on here: %v", address, err)
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		asked, err := askListeners(port)
		if err != nil {
			t.Errorf("%s: %v", address, err)
		}
		read := readListeners(port)
		slices.Sort(asked)
		slices.Sort(read)
		if !slices.Equal(asked, read) {
			t.Errorf("%s: the kernel tells of %v, /proc shows %v", address, asked, read)
		}
		if reachable := address != "127.0.0.2:0" && address != "[::1]:0"; reachable != (len(asked) == 1) {
			t.Errorf("%s: found %v", address, asked)
		}
		l.Close()
		if left, err := askListeners(port); err != nil || len(left) != 0 {
			t.Errorf("%s, closed: found %v: %v", address, left, err)
		}
	}
}

func BenchmarkListeners(b *testing.B) {
	b.Run("asked", func(b *testing.B) {
		for b.Loop() {
			if _, err := askListeners(1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			readListeners(1)
		}
	})
}
