package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"code.dny.dev/ssrf"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The internet of the tests: one address that counts as public, one that does not.
var (
	public  = netip.MustParseAddr("127.0.0.1")
	private = netip.MustParseAddr("127.0.0.2")
)

// names are what a name server knows. It is asked for both kinds of addresses
// separately; those of the other kind are left out of its answer.
type names func(name string, v6 bool) []netip.Addr

// guarded is a Client as New makes it, but for the address that counts as public
// and for its ports, which are not ours to listen on. Names are resolved by
// resolve; no address means that there is no such name.
func guarded(t *testing.T, resolve names) *Client {
	c := New(Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
	c.ports = nil
	c.guard = ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(azureHost), ssrf.WithAllowedV4Prefixes(netip.PrefixFrom(public, 32)))
	c.dialer.Resolver = resolver(resolve)
	return c
}

// open takes every address.
func open(t *testing.T, change func(*Config)) *Client {
	cfg := Config{Dir: t.TempDir(), MaxBytes: 1 << 20, AllowPrivate: true}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

// get checks a URL and downloads it.
func get(c *Client, raw string) ([]byte, error) {
	u, err := c.Check(raw)
	if err != nil {
		return nil, err
	}
	files, err := c.All(context.Background(), []*url.URL{u})
	if err != nil {
		return nil, err
	}
	defer CloseAll(files)
	r, err := files[0].Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// fetchError fails the test unless err is one about a URL.
func fetchError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want one about the URL", err)
	}
	return e
}

// serveAt serves h on an address of the tests' internet, at a port of its own.
func serveAt(t *testing.T, addr netip.Addr, h http.HandlerFunc) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// trap listens on a port, 0 for any, and counts who connects.
func trap(t *testing.T, addr netip.Addr, port string) (connects *atomic.Int64, at string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr.String(), port))
	if err != nil {
		t.Fatal(err)
	}
	connects = new(atomic.Int64)
	var listening sync.WaitGroup
	listening.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connects.Add(1)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		listening.Wait()
	})
	return connects, l.Addr().String()
}

// passed notes the addresses that the guard of c lets pass, and stops there:
// nothing is connected to.
func passed(c *Client) func() []string {
	var mu sync.Mutex
	var all []string
	c.dialer.ControlContext = func(ctx context.Context, network, address string, conn syscall.RawConn) error {
		if err := c.Control(ctx, network, address, conn); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, address)
		return errors.New("let pass, but the test ends here")
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// resolver asks a name server that lives at the other end of a pipe.
func resolver(resolve names) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for answerName(there, resolve) == nil {
			}
		}()
		return here, nil
	}}
}

// Kinds of records.
const typeA, typeAAAA = uint16(1), uint16(28)

// answerName answers one question as a name server does over TCP.
func answerName(conn net.Conn, resolve names) error {
	var size uint16
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return err
	}
	msg := make([]byte, size)
	if _, err := io.ReadFull(conn, msg); err != nil {
		return err
	}
	name, end := "", 12
	for msg[end] != 0 {
		name += string(msg[end+1:end+1+int(msg[end])]) + "."
		end += 1 + int(msg[end])
	}
	end += 5
	kind := binary.BigEndian.Uint16(msg[end-4:])
	out := append([]byte{msg[0], msg[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, msg[12:end]...)
	addrs := resolve(name, kind == typeAAAA)
	if len(addrs) == 0 {
		out[3] |= 3 // no such name
	}
	for _, a := range addrs {
		record := typeAAAA
		if a.Is4() {
			record = typeA
		}
		if record != kind {
			continue
		}
		out[7]++
		raw := a.AsSlice()
		out = append(out, 0xc0, 12, byte(record>>8), byte(record), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
		out = append(out, raw...)
	}
	return binary.Write(conn, binary.BigEndian, append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
}

// always resolves every name to the same addresses.
func always(addrs ...netip.Addr) names {
	return func(string, bool) []netip.Addr { return addrs }
}
