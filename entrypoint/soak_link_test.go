package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// newSoakLink starts a proxy to a server, whose line can be spoilt.
func newSoakLink(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	link := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream)
	if err := link.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(link.Stop)
	return link
}

// soakOfBucket are those of the line to the bucket.
func soakOfBucket() []soakFault {
	spoilt := func(name, toxic string) soakFault {
		return soakFault{name: "bucket: " + name, weight: 3, toxic: toxic, lasts: 100 * time.Millisecond, spread: 400 * time.Millisecond}
	}
	return []soakFault{
		spoilt("reset", `{"name":"spoilt","type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`),
		spoilt("answer lost", `{"name":"spoilt","type":"limit_data","stream":"downstream","attributes":{"bytes":40}}`),
	}
}

// spoil spoils the line to the bucket for a while, and reports whether anything
// had to be sent again.
func (s *soak) spoil(f *soakFault) bool {
	s.t.Helper()
	if s.link == nil {
		return false
	}
	before := s.sentAgain()
	if _, err := s.link.Toxics.AddToxicJson(strings.NewReader(f.toxic)); err != nil {
		s.t.Fatal(err)
	}
	<-time.After(f.lasts)
	if err := s.link.Toxics.RemoveToxic(s.t.Context(), "spoilt"); err != nil {
		s.t.Fatal(err)
	}
	return s.sentAgain() > before
}

// sentAgain is how many requests to the bucket comfyvisor has sent again.
func (s *soak) sentAgain() (n int) {
	resp, err := client.Get(s.status + "/metrics")
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0 // a pod that was just replaced
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if text, ok := strings.CutPrefix(in.Text(), `comfyvisor_delivery_retries_total{to="s3"} `); ok {
			_, _ = fmt.Sscan(text, &n)
		}
	}
	return n
}
