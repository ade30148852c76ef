package supervisor

import (
	"context"
	"testing"

	"go.uber.org/zap"
)

// A panic in Run leaves no process behind, and Run can be called again.
func TestFault_P12_PanicLeavesNoProcess(t *testing.T) {
	cfg := as(Config{Policy: quick()}, "sleep")
	pid, panics := 0, 1
	started := make(chan struct{}, 1)
	var s *Supervisor
	cfg.Observe = func(tr Transition) {
		if tr.To != StateRunning {
			return
		}
		if panics > 0 {
			panics--
			pid = s.Status().PID
			panic("injected")
		}
		started <- struct{}{}
	}
	s = New(cfg, runReaper(t), zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic came out of Run")
			}
		}()
		_ = s.Run(ctx)
	}()
	if pid == 0 || running(pid) {
		t.Errorf("process %d is still there", pid)
	}
	if status := s.Status(); status.State != StateStopped || status.PID != 0 {
		t.Errorf("status = %+v", status)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	receive(t, started, "second start")
	cancel()
	if err := receive(t, ended, "end of Run"); err != context.Canceled {
		t.Errorf("Run = %v", err)
	}
}
