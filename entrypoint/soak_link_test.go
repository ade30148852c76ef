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

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// newSoakLink starts a proxy to a server, whose line can be spoilt.
func newSoakLink(t *testing.T, upstream string) *toxiproxy.Proxy {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxics write to a log that nobody chose
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
		return soakFault{
			name: "bucket: " + name, weight: 3, toxic: toxic, lasts: 100 * time.Millisecond, spread: 400 * time.Millisecond,
			needs: func(k soakPodKind) bool { return k.bucket },
		}
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
	before := s.sentAgain()
	s.spoilLine(s.link, f.toxic, f.lasts)
	again := s.sentAgain() - before
	if most := soakRushed + int(soakRushed*f.lasts.Seconds()); again > most {
		s.wrong(soakCalls, "%d requests were sent to the bucket again while it failed for %v, want at most %d", again, f.lasts, most)
	}
	return again > 0
}

// soakRushed is how often a second a pod may ask what fails.
const soakRushed = 20

func (s *soak) spoilLine(line *toxiproxy.Proxy, toxic string, lasts time.Duration) {
	s.t.Helper()
	if _, err := line.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		s.t.Fatal(err)
	}
	<-time.After(lasts)
	if err := line.Toxics.RemoveToxic(s.t.Context(), "spoilt"); err != nil {
		s.t.Fatal(err)
	}
}

// soakOfLines are those of the lines to the queue and to ComfyUI.
func soakOfLines() []soakFault {
	queue := func(name, toxic string) soakFault {
		return soakFault{name: "line to the queue: " + name, weight: 2, queueToxic: toxic, lasts: 100 * time.Millisecond, spread: 900 * time.Millisecond}
	}
	comfy := func(how string) soakFault {
		return soakOfProcess("line to ComfyUI: "+how, 2, comfytest.Fault{Do: "link " + how}, 200*time.Millisecond, 800*time.Millisecond, 0)
	}
	return []soakFault{
		queue("reset", `{"name":"spoilt","type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`),
		queue("silent", `{"name":"spoilt","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`),
		queue("slow", `{"name":"spoilt","type":"bandwidth","stream":"upstream","attributes":{"rate":4}}`),
		comfy("reset"), comfy("silent"), comfy("drip"),
	}
}

// lineDoubt is how long before it is spoilt an answer may still be on a line.
const lineDoubt = 500 * time.Millisecond

// spoilQueue spoils the line to the queue for a while.
func (s *soak) spoilQueue(f *soakFault) {
	from := time.Now().Add(-lineDoubt)
	s.spoilLine(s.queueLink, f.queueToxic, f.lasts)
	s.q.Doubt(from, time.Now().Add(lineDoubt))
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
