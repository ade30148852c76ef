package main

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/s3store"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// overheadS3 measures what a job costs beside its execution when its files go to
// a real S3 server on the same machine. There is no floor: most of it is that server.
func overheadS3(count, bytes int) func(*testing.B) []figure {
	return func(b *testing.B) []figure {
		g := s3test.Start(b)
		store, err := s3store.New(s3store.Config{
			EndpointURL: g.Endpoint(), AccessKeyID: g.AccessKey, SecretAccessKey: g.SecretKey, Region: g.Region,
		}, zap.NewNop())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(store.Close)
		s := work(newStand(b), false, store)
		s.round(5, imageFiles(1, 1000)) // connections are open and buffers made
		var took []time.Duration
		for b.Loop() {
			took = append(took, s.round(1, imageFiles(count, bytes)).overhead())
		}
		p50, p99 := quantiles(took, nil)
		return []figure{p50, p99}
	}
}

// promptEnds measures the time from the end of a prompt to the moment in which its
// outcome is known, history included. The floor is the last word of a socket.
func promptEnds(b *testing.B) []figure {
	s := newStand(b)
	client := comfy.New(comfy.Config{Addr: s.comfy.Addr}, nil)
	defer client.Close()
	last := lastWords(b, s)
	var took, least []time.Duration
	for n := 1; b.Loop(); n++ {
		if _, err := client.Run(b.Context(), comfy.Prompt{ID: comfy.PromptID("end", n), Workflow: []byte(text)}, nil); err != nil {
			b.Fatal(err)
		}
		known, ended := time.Now(), await(b, s.runs).Ended
		took = append(took, known.Sub(ended))
		least = append(least, await(b, last).Sub(ended))
	}
	p50, p99 := quantiles(took, least)
	return []figure{p50, p99}
}

// lastWords are the moments in which a socket of its own hears that ComfyUI has
// nothing to do any more.
func lastWords(b *testing.B, s *stand) <-chan time.Time {
	b.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.comfy.Addr+"/ws?clientId=floor", nil)
	if err != nil {
		b.Fatal(err)
	}
	heard, ended := make(chan time.Time, 1<<16), make(chan struct{})
	go func() {
		defer close(ended)
		for busy := false; ; {
			_, frame, err := conn.ReadMessage()
			if err != nil {
				return
			}
			switch idle := isIdle(frame); {
			case idle && busy:
				heard <- time.Now()
				busy = false
			case !idle:
				busy = true
			}
		}
	}()
	b.Cleanup(func() { conn.Close(); <-ended })
	return heard
}

// size is that of the program as it is shipped.
func size(b *testing.B) []figure {
	binary, err := comfyvisor()
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
	}
	return []figure{{of: "size", unit: "MB", ours: float64(info.Size()) / 1e6}}
}

// isIdle tells whether a frame says that nothing runs and nothing waits.
func isIdle(frame []byte) bool {
	var event struct {
		Data struct {
			Status struct {
				Exec struct {
					Remaining int `json:"queue_remaining"`
				} `json:"exec_info"`
			}
		}
	}
	return json.Unmarshal(frame, &event) == nil && event.Data.Status.Exec.Remaining == 0
}
