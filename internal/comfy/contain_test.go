package comfy

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A panic over what ComfyUI sends, or while a socket is opened, costs that socket; the prompt's end is seen all the same, by another socket or by asking.
func TestFault_P12_PanicAtTheSocketCostsTheSocket(t *testing.T) {
	for _, direction := range []string{"received", "sent"} {
		for _, times := range []int64{1, 1_000_000} {
			inBubbles(t, nil, func(t *testing.T, p *peer) {
				var planted atomic.Int64
				p.Client.stream.cfg.Trace = func(to string, _ []byte) {
					if to == direction && planted.Add(1) <= times {
						panic("planted")
					}
				}
				tell, told := collect()
				f := <-p.start(t.Context(), p.prompt(samplerWorkflow), tell)
				wantInTime(t, p, f, noticed)
				if len(f.outcome.Outputs) != 1 || planted.Load() == 0 {
					t.Errorf("outputs %v after %d panics, want one", f.outcome.Outputs, planted.Load())
				}
				if !has[SocketLost](told()) {
					t.Error("the loss of the socket was not told")
				}
				p.Client.Close()
				synctest.Wait()
				if n := p.Server.Sockets(); n != 0 {
					t.Errorf("%d sockets are still open", n)
				}
			})
		}
	}
}
