package worker

import (
	"context"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// A catalog is what one incarnation of ComfyUI says of its nodes, from the
// moment at which it is asked.
type catalog struct {
	answered chan struct{}
	info     *nodeinfo.Info // set when answered is closed; nil if there was no answer
}

// learn asks each incarnation of the slot's ComfyUI for its nodes, once, when
// its gate opens: jobs are asked for at that moment too, so that the answer is
// there before the first of them in all but a few cases. No job waits for it. It
// returns when ctx ends or the gate will not open again.
func (s *Slot) learn(ctx context.Context, log *zap.Logger) {
	for {
		inside, leave, err := s.Gate.Enter(ctx)
		if err != nil {
			return
		}
		c := &catalog{answered: make(chan struct{})}
		s.catalog.Store(c)
		c.info, err = s.nodes(inside)
		if err != nil && inside.Err() == nil {
			log.Warn("ComfyUI's list of nodes cannot be read: workflows are not checked before they are sent", zap.Error(err))
		}
		close(c.answered)
		<-inside.Done()
		leave()
		s.catalog.Store(nil)
	}
}

// nodes asks ComfyUI for all its nodes.
func (s *Slot) nodes(ctx context.Context) (*nodeinfo.Info, error) {
	info, err := s.describe(ctx, "")
	if err != nil {
		return nil, err
	}
	replaced, err := s.Comfy.NodeReplacements(ctx)
	if err != nil {
		return nil, err
	}
	info.Spare(replaced)
	return info, nil
}

// describe asks ComfyUI for one class, or for all if it is "".
func (s *Slot) describe(ctx context.Context, class string) (info *nodeinfo.Info, err error) {
	err = s.Comfy.ObjectInfo(ctx, class, func(r io.Reader) (err error) {
		info, err = nodeinfo.Parse(r)
		return err
	})
	return info, err
}

// get is the answer if there is one, without waiting for it.
func (c *catalog) get() *nodeinfo.Info {
	if c == nil {
		return nil
	}
	select {
	case <-c.answered:
		return c.info
	default:
		return nil
	}
}

// known is what is known of ComfyUI's nodes at the moment, nil for nothing.
func (s *Slot) known() *nodeinfo.Info { return s.catalog.Load().get() }

// knownSoon is known after a wait, limit at most, for an answer under way.
func (s *Slot) knownSoon(ctx context.Context, limit time.Duration) *nodeinfo.Info {
	c := s.catalog.Load()
	if c == nil {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.answered:
	case <-timer.C:
	case <-ctx.Done():
	}
	return c.get()
}

// renew asks ComfyUI once more for the classes of the faults that info has, and
// keeps what it says of them for later jobs.
func (s *Slot) renew(ctx context.Context, info *nodeinfo.Info, faults []nodeinfo.Fault) (*nodeinfo.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	renewed := info
	asked := make(map[string]bool)
	for _, f := range faults {
		if asked[f.Class] {
			continue
		}
		asked[f.Class] = true
		answer, err := s.describe(ctx, f.Class)
		if err != nil {
			return nil, fmt.Errorf("ask for class %q once more: %w", f.Class, err)
		}
		renewed = renewed.Renewed(f.Class, answer)
	}
	if old := s.catalog.Load(); old.get() == info {
		c := &catalog{answered: make(chan struct{}), info: renewed}
		close(c.answered)
		s.catalog.CompareAndSwap(old, c)
	}
	return renewed, nil
}

// renewLimit is how long ComfyUI, which may be busy, is asked before it shall
// judge the workflow itself.
const renewLimit = 2 * time.Second
