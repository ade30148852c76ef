package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

const (
	// wantedInodes is how many files a job has to be able to make.
	wantedInodes = 64
	lookLimit    = 2 * time.Second  // for asking a volume for its free space
	removeLimit  = 30 * time.Second // for removing leftovers
)

// space is what is free on a filesystem.
type space struct {
	bytes, inodes int64 // free ones, or -1 where the filesystem does not count
}

// spaceIn asks the filesystem of dir.
func spaceIn(dir string) (space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return space{}, fmt.Errorf("look at free space of %s: %w", dir, err)
	}
	free := space{-1, -1}
	if st.Blocks > 0 {
		free.bytes = int64(st.Bavail) * st.Frsize
	}
	if st.Files > 0 {
		free.inodes = int64(st.Ffree)
	}
	return free, nil
}

// shortage returns why there is no room for a job that wants so many bytes, nil
// if there is.
func (s space) shortage(dir string, want int64) error {
	bytes := s.bytes >= 0 && s.bytes < want
	inodes := s.inodes >= 0 && s.inodes < wantedInodes
	if !bytes && !inodes {
		return nil
	}
	return &fullError{dir, s, want, !bytes}
}

// fullError says that there is no room for a job's files.
type fullError struct {
	dir    string
	free   space
	want   int64 // bytes
	inodes bool  // it is them that there are too few of
}

func (e *fullError) Error() string {
	if e.inodes {
		return fmt.Sprintf("no room for the job's files: the filesystem of %s has inodes for %d more files, %d are wanted",
			e.dir, e.free.inodes, wantedInodes)
	}
	return fmt.Sprintf("no room for the job's files: the filesystem of %s has %s free (%d bytes), %s are wanted (MIN_FREE_MB)",
		e.dir, megabytes(e.free.bytes), e.free.bytes, megabytes(e.want))
}

// details are those of a failure.
func (e *fullError) details() any {
	return struct {
		Path   string `json:"path"`
		Bytes  int64  `json:"free_bytes"`
		Want   int64  `json:"wanted_bytes"`
		Inodes int64  `json:"free_inodes"`
	}{e.dir, e.free.bytes, e.want, e.free.inodes}
}

// makeRoom returns nil when there is room for a job's files, for which it
// removes what earlier jobs left behind if it must. A volume that cannot be
// asked is taken to have room.
func (l *life) makeRoom(ctx context.Context, images int) error {
	want := l.w.cfg.MinFree
	if want == 0 {
		return nil
	}
	dirs := []string{l.slot.OutputDir}
	if images > 0 {
		dirs = append(dirs, l.slot.InputDir)
	}
	for _, dir := range dirs {
		short, err := l.slot.shortageIn(ctx, dir, want)
		if short != nil {
			l.clear(ctx, short)
			short, err = l.slot.shortageIn(ctx, dir, want)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case short != nil:
			return short
		case errors.Is(err, errStalled):
			l.log.Warn("free space is not known: the job goes on", zap.String("path", dir), zap.Error(err))
		}
	}
	return nil
}

// clear removes leftovers, because of a shortage.
func (l *life) clear(ctx context.Context, short error) {
	slot := l.slot // the job may be at another by then
	removed, err := touch(ctx, &slot.volume, removeLimit, func() (int, error) {
		return removeLeftovers(slot.leftovers(l.w.inUse), l.w.inUse)
	})
	if removed > 0 || err != nil {
		l.log.Warn("leftovers of earlier jobs removed", zap.Int("removed", removed), zap.NamedError("reason", short), zap.Error(err))
	}
}

// shortage returns why there is no room for another job's files, nil if there is
// or if it cannot be told.
func (w *Worker) shortage(ctx context.Context, s *Slot) error {
	for _, dir := range []string{s.OutputDir, s.InputDir} {
		if short, _ := s.shortageIn(ctx, dir, w.cfg.MinFree); short != nil {
			return short
		}
	}
	return nil
}

// shortageIn returns why there is no room in dir. The error means that this
// could not be told.
func (s *Slot) shortageIn(ctx context.Context, dir string, want int64) (short, err error) {
	if dir == "" || want == 0 {
		return nil, nil
	}
	free, err := touch(ctx, &s.volume, lookLimit, func() (space, error) { return spaceIn(dir) })
	if err != nil {
		return nil, err
	}
	return free.shortage(dir, want), nil
}

// saysFull are the words of the system for a full filesystem or a used up
// quota, as Python and others quote them.
var saysFull = []string{"no space left on device", "[errno 28]", "disk quota exceeded", "[errno 122]"}

// diskWasFull tells whether a node failed because it could not write.
func diskWasFull(e *comfy.NodeFailure) bool {
	message := strings.ToLower(e.Message)
	for _, words := range saysFull {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}
