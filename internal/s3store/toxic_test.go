package s3store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// newToxic starts a proxy to a server that spoils what passes as the toxics, in
// the JSON of Toxiproxy's API, say.
func newToxic(t *testing.T, upstream string, toxics ...string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	for _, toxic := range toxics {
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatalf("%s: %v", toxic, err)
		}
	}
	return proxy
}

// A real store behind a line that is slow, late, cut into pieces, or broken for a
// while gets the whole file, once.
func TestFault_S1_ToxicLines(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	data := randomBytes(6 << 20)
	tests := []struct {
		name   string
		toxics []string
		broken bool          // until the first request has failed
		idle   time.Duration // after which a silent connection is cut, if not the default
	}{
		{name: "late", toxics: []string{`{"type":"latency","stream":"downstream","attributes":{"latency":100,"jitter":50}}`}},
		{name: "slow", toxics: []string{`{"type":"bandwidth","stream":"upstream","attributes":{"rate":8192}}`}},
		{name: "in pieces", toxics: []string{`{"type":"slicer","stream":"upstream","attributes":{"average_size":20000,"size_variation":10000,"delay":10}}`}},
		{name: "closes slowly", toxics: []string{`{"type":"slow_close","stream":"downstream","attributes":{"delay":200}}`}},
		{name: "ends after some of it", broken: true, toxics: []string{`{"type":"limit_data","stream":"upstream","attributes":{"bytes":300000}}`}},
		{name: "ends in the answer", broken: true, toxics: []string{`{"type":"limit_data","stream":"downstream","attributes":{"bytes":40}}`}},
		{name: "resets", broken: true, toxics: []string{`{"type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`}},
		{name: "goes silent", broken: true, idle: time.Second, toxics: []string{`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`}},
	}
	for _, tt := range tests {
		for form, change := range map[string]func(*Config){
			"whole": func(*Config) {},
			"parts": func(c *Config) { c.WholeSize, c.PartSize = 1<<20, 5<<20 },
		} {
			t.Run(tt.name+", "+form, func(t *testing.T) {
				t.Parallel()
				proxy := newToxic(t, gw.Addr, tt.toxics...)
				cfg := Config{
					EndpointURL: gw.Endpoint(), AccessKeyID: gw.AccessKey, SecretAccessKey: gw.SecretKey,
				}
				change(&cfg)
				transport := newTransport(cmp.Or(tt.idle, defaultIdle), func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "tcp", proxy.Listen) })
				defer transport.CloseIdleConnections()
				cfg.Transport = transport
				var failed atomic.Int64
				heal := func(e zapcore.Entry) error {
					if strings.Contains(e.Message, "sent again") && failed.Add(1) == 1 {
						proxy.Toxics.ResetToxics(context.Background())
					}
					return nil
				}
				core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(t.Output()), zap.InfoLevel)
				s, err := New(cfg, zap.New(zapcore.RegisterHooks(core, heal)))
				if err != nil {
					t.Fatal(err)
				}
				job := fmt.Sprintf("%s %s", tt.name, form)
				file := bytesFile("a.mp4", data)
				key := s.keys.key(time.Now(), job, 0, file)
				if _, err := s.Put(t.Context(), job, 0, file); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(gw.Path(key)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("the stored object differs from the file: %d bytes, %v", len(got), err)
				}
				if n := failed.Load(); (n > 0) != tt.broken {
					t.Errorf("%d requests were sent again", n)
				}
			})
		}
	}
}
