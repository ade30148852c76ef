package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	// leftoverAge is how old what was left behind has to be to be removed: the
	// directory may be shared with other pods, whose jobs are not known here.
	leftoverAge = time.Hour
	// freshen is how often the files of jobs at hand are made young again, so that no
	// other pod takes them for leftovers.
	freshen = leftoverAge / 4
)

// keepHouse removes what killed pods have left in a slot's directories, and keeps the
// files of jobs at hand young, at once and now and then until ctx ends.
func (w *Worker) keepHouse(ctx context.Context, s *Slot) {
	tick := time.NewTicker(freshen)
	defer tick.Stop()
	for {
		removed, err := w.tidy(ctx, s)
		switch {
		case ctx.Err() != nil:
			return
		case removed > 0 || err != nil:
			w.log.Info("leftovers of killed pods removed", zap.Int("removed", removed), zap.Error(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if _, err := touch(ctx, &s.volume, removeLimit, func() (struct{}, error) { return struct{}{}, s.freshen(time.Now()) }); err != nil {
			w.log.Debug("files of jobs at hand grow old", zap.Error(err))
		}
	}
}

// tidy removes old leftovers, one by one so that jobs find their turn in between. It
// returns how many it removed.
func (w *Worker) tidy(ctx context.Context, s *Slot) (removed int, err error) {
	list, err := touch(ctx, &s.volume, removeLimit, func() ([]leftover, error) { return s.leftovers(w.inUse), nil })
	for i := range list {
		n, rerr := touch(ctx, &s.volume, removeLimit, func() (int, error) { return removeLeftovers(list[i:i+1], w.inUse) })
		removed, err = removed+n, errors.Join(err, rerr)
		if ctx.Err() != nil {
			break
		}
	}
	return removed, err
}

// A leftover is a folder or an input of an attempt that is not running.
type leftover struct {
	dir, name string
	attempt   string // the beginning of its id
}

var (
	folderOfOurs = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	inputOfOurs  = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{3}_`)
)

// leftovers are what attempts that are not running left behind long ago.
func (s *Slot) leftovers(inUse func(begin string) bool) []leftover {
	all := slices.Concat(s.outputsOfOurs(), s.inputsOfOurs())
	return slices.DeleteFunc(all, func(o leftover) bool { return !o.isOld() || inUse(o.attempt) })
}

// outputsOfOurs are the folders of all attempts, also of other pods'.
func (s *Slot) outputsOfOurs() []leftover {
	return oursIn(s.OutputDir, outputRoot, func(d fs.DirEntry) string {
		if d.IsDir() {
			return folderOfOurs.FindString(d.Name())
		}
		return ""
	})
}

// inputsOfOurs are the inputs of all attempts, also of other pods'.
func (s *Slot) inputsOfOurs() []leftover {
	return oursIn(s.InputDir, ".", func(d fs.DirEntry) string {
		if d.Type().IsRegular() {
			return strings.TrimSuffix(inputOfOurs.FindString(d.Name()), "_")
		}
		return ""
	})
}

// oursIn are the entries of a folder below dir that bear the name of an attempt. A
// folder that is not there, or not ours to read, has none.
func oursIn(dir, folder string, attempt func(fs.DirEntry) string) (all []leftover) {
	root, err := openRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	list, err := fs.ReadDir(root.FS(), folder)
	if err != nil {
		return nil
	}
	for _, d := range list {
		if id := attempt(d); id != "" {
			all = append(all, leftover{dir, path.Join(folder, d.Name()), id})
		}
	}
	return all
}

// isOld tells whether it has not changed for long.
func (o leftover) isOld() bool {
	root, err := openRoot(o.dir)
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Lstat(o.name)
	return err == nil && time.Since(info.ModTime()) > leftoverAge
}

// removeLeftovers removes those that are still old and still nobody's. It returns
// how many it removed.
func removeLeftovers(list []leftover, inUse func(begin string) bool) (removed int, err error) {
	for _, o := range list {
		if inUse(o.attempt) || !o.isOld() {
			continue
		}
		if rerr := removeLocal(o.dir, o.name); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		removed++
	}
	return removed, err
}

// freshen makes the files of the slot's attempts at hand as young as at.
func (s *Slot) freshen(at time.Time) (err error) {
	for _, o := range slices.Concat(s.outputsOfOurs(), s.inputsOfOurs()) {
		if s.volume.inUse(o.attempt) {
			err = errors.Join(err, o.freshen(at))
		}
	}
	return err
}

func (o leftover) freshen(at time.Time) error {
	root, err := openRoot(o.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chtimes(o.name, at, at); !errors.Is(err, os.ErrNotExist) { // a job that has just ended
		return err
	}
	return nil
}

// inUse tells whether begin is the beginning of the id of an attempt whose files
// are in use, in whichever slot: slots may share their directories.
func (w *Worker) inUse(begin string) bool {
	return slices.ContainsFunc(w.cfg.Slots, func(s *Slot) bool { return s.volume.inUse(begin) })
}
