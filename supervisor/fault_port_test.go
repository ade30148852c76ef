package supervisor

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// listen takes a free port of the loopback interface.
func listen(t *testing.T, address string) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("listen on %s: %v", address, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// What listens on the port of the process without having come of it is found and named, on every address at which 127.0.0.1 is answered.
func TestFault_L5_HolderOfThePortIsNamed(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(address, func(t *testing.T) {
			l, port := listen(t, address)
			r := rigUp(t, as(Config{}, "sleep"))
			r.line("up")
			r.cfg.Port = port
			err := r.CheckPort()
			if !errors.Is(err, ErrPortBusy) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())+" (") {
				t.Errorf("CheckPort = %v, want this process named", err)
			}
			_ = l.Close()
			if err := r.CheckPort(); err != nil {
				t.Errorf("when it is free: %v", err)
			}
		})
	}
	l, port := listen(t, "[::1]:0")
	defer l.Close()
	s := &Supervisor{cfg: Config{Port: port}}
	if err := s.CheckPort(); err != nil {
		t.Errorf("an address that 127.0.0.1 is not: %v", err)
	}
}

// The server is named, and not what it has just started.
func TestEldestHolderIsNamed(t *testing.T) {
	server, child, grandchild, other := procEntry{pid: 30, parent: 1}, procEntry{pid: 5, parent: 30}, procEntry{pid: 7, parent: 5}, procEntry{pid: 8, parent: 2}
	for _, tt := range []struct {
		holders []procEntry
		want    int
	}{
		{[]procEntry{server}, 30},
		{[]procEntry{child, grandchild, server}, 30},
		{[]procEntry{child, grandchild}, 5},
		{[]procEntry{other, server}, 8},
	} {
		if got := eldest(tt.holders, func(int) bool { return true }); got != tt.want {
			t.Errorf("of %+v it names %d, want %d", tt.holders, got, tt.want)
		}
	}
}

// A start waits for the port to become free, and is not made while something else holds it.
func TestFault_C7_StartWaitsForThePort(t *testing.T) {
	l, port := listen(t, "127.0.0.1:0")
	cfg := as(Config{Port: port, Policy: quick()}, "sleep")
	r := rigUp(t, cfg)
	tr := r.until(StateBackoff)
	if !errors.Is(*tr.Exit, ErrPortBusy) {
		t.Errorf("exit = %v, want %v", tr.Exit, ErrPortBusy)
	}
	_ = l.Close()
	r.until(StateRunning)
}
