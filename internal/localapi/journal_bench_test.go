package localapi

import (
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// What it costs to be answered with an id: in memory, and on the disk, where
// clients that come together share a write.
func BenchmarkRun(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "disk": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			l, err := Listen("127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := New(Config{SpoolDir: dir, MaxQueue: 1 << 30}, l, zap.NewNop())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = s.Run(b.Context())
			}()
			defer func() { _ = s.http.Close(); <-ended }()
			url := "http://" + l.Addr().String() + "/run"
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				for pb.Next() {
					resp, err := client.Post(url, "application/json", strings.NewReader(someJob))
					if err != nil {
						b.Error(err)
						return
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						b.Error(resp.Status)
					}
				}
			})
		})
	}
}
