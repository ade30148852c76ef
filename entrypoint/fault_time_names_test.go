package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What a nameserver does with a question.
const (
	noAnswer = -1 // it keeps silent
	answered = 0
	servfail = 2
)

// A nameserver answers all questions for addresses alike, on an address of the
// loopback network of its own.
type nameserver struct {
	addr netip.Addr
	conn *net.UDPConn

	mu     sync.Mutex
	how    int
	is     []netip.Addr
	asked  int
	change chan struct{} // closed and replaced with each question
}

// newNameserver returns one that keeps silent.
func newNameserver(t *testing.T) *nameserver {
	t.Helper()
	n := &nameserver{how: noAnswer, change: make(chan struct{})}
	var err error
	for i := byte(1); i < 100; i++ {
		n.addr = netip.AddrFrom4([4]byte{127, 53, 53, i})
		n.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.addr, 53)))
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Skipf("a nameserver needs port 53: %v", err)
	}
	served := make(chan struct{})
	go func() { defer close(served); n.serve() }()
	t.Cleanup(func() { n.conn.Close(); <-served })
	return n
}

// behave changes what it does from now on.
func (n *nameserver) behave(how int, is ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.how, n.is = how, is
}

// waitAsked waits for so many more questions.
func (n *nameserver) waitAsked(t *testing.T, more int) {
	t.Helper()
	ctx, cancel := contextFor(t)
	defer cancel()
	n.mu.Lock()
	until := n.asked + more
	n.mu.Unlock()
	for {
		n.mu.Lock()
		asked, change := n.asked, n.change
		n.mu.Unlock()
		if asked >= until {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			t.Fatalf("%d of %d questions were asked", asked, until)
		}
	}
}

func (n *nameserver) serve() {
	question := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFromUDPAddrPort(question)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.asked++
		close(n.change)
		n.change = make(chan struct{})
		answer := dnsAnswer(question[:size], n.how, n.is)
		n.mu.Unlock()
		if answer != nil {
			_, _ = n.conn.WriteToUDPAddrPort(answer, from) // who asks asks again
		}
	}
}

// dnsAnswer answers a question with those addresses that it asks for.
func dnsAnswer(question []byte, how int, is []netip.Addr) []byte {
	const header, kindA, kindAAAA = 12, 1, 28
	end := header
	for end < len(question) && question[end] != 0 { // labels
		end += int(question[end]) + 1
	}
	end += 5 // the last label, type and class
	if how == noAnswer || end > len(question) {
		return nil
	}
	kind := binary.BigEndian.Uint16(question[end-4:])
	answer := append([]byte{}, question[:end]...)
	binary.BigEndian.PutUint16(answer[2:], 0x8180|uint16(how)) // an answer, recursion available
	count := uint16(0)
	for _, addr := range is {
		if how == answered && (addr.Is4() && kind == kindA || addr.Is6() && kind == kindAAAA) {
			count++
			answer = append(answer, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(addr.BitLen()/8))
			answer = append(answer, addr.AsSlice()...)
		}
	}
	copy(answer[4:header], []byte{0, 1, byte(count >> 8), byte(count), 0, 0, 0, 0})
	return answer
}

// mount is the line for mounts that makes a program ask the nameserver.
func (n *nameserver) mount(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "nameserver %v\noptions timeout:2\n", n.addr), 0o644); err != nil {
		t.Fatal(err)
	}
	return "bind " + file + " /etc/resolv.conf"
}

// named are the variables of a server that is called by a name instead of an address.
func named(env map[string]string, addr, name string) map[string]string {
	all := make(map[string]string)
	for k, v := range env {
		all[k] = strings.ReplaceAll(v, "//"+addr, "//"+name)
	}
	return all
}

// A bridge takes connections and passes everything on.
type bridge struct {
	l  net.Listener
	to string

	mu      sync.Mutex
	conns   []net.Conn
	took    int
	closed  bool
	passing sync.WaitGroup
}

// newBridge listens at an address for a server until the test ends.
func newBridge(t *testing.T, at, to string) *bridge {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{l: l, to: to}
	b.passing.Go(b.serve)
	t.Cleanup(b.close)
	return b
}

func (b *bridge) port() string {
	_, port, _ := net.SplitHostPort(b.l.Addr().String())
	return port
}

// close cuts all connections, and takes no more.
func (b *bridge) close() {
	b.l.Close()
	b.mu.Lock()
	b.closed = true
	for _, c := range b.conns {
		c.Close()
	}
	b.mu.Unlock()
	b.passing.Wait()
}

func (b *bridge) taken() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.took
}

func (b *bridge) serve() {
	for {
		near, err := b.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", b.to)
		if err != nil {
			near.Close()
			continue
		}
		b.mu.Lock()
		b.took++
		b.conns = append(b.conns, near, far)
		if b.closed {
			near.Close()
			far.Close()
		}
		b.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			b.passing.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				near.Close()
				far.Close()
			})
		}
	}
}
