package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/volume"
)

// A Disk is what the check of free space looks at.
type Disk struct {
	Dirs []string // that are written to
	Free int64    // bytes that have to be free
}

// Look tells whether each directory, or the nearest above it that exists, has
// room and may be written to.
func (d Disk) Look() Finding {
	f := Finding{Verdict: OK}
	var short, locked []string
	for _, dir := range d.Dirs {
		at := nearest(dir)
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil {
			f.Details = append(f.Details, fmt.Sprintf("%s: %v", dir, err))
			locked = append(locked, dir)
			continue
		}
		free := int64(st.Bavail) * st.Frsize
		f.Details = append(f.Details, fmt.Sprintf("%s: %s free", dir, volume.Size(free)))
		if free < d.Free {
			short = append(short, dir)
		}
		if unix.Access(at, unix.W_OK) != nil {
			locked = append(locked, dir)
		}
	}
	switch {
	case len(locked) > 0:
		f.Verdict, f.Text = Fail, "cannot be written to: "+strings.Join(locked, ", ")
		f.Advice = "mount it writable, or run as its owner"
	case len(short) > 0:
		f.Verdict, f.Text = Fail, fmt.Sprintf("less than %s is free (MIN_FREE_MB): %s", volume.Size(d.Free), strings.Join(short, ", "))
		f.Advice = "make room, or give the pod a larger disk"
	default:
		f.Text = fmt.Sprintf("room and rights in %d directories", len(d.Dirs))
	}
	return f
}

// nearest is dir, or what of its path exists.
func nearest(dir string) string {
	for dir != "/" && dir != "." {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// Volume judges a report. Wanted tells that the configuration names a volume;
// without, its absence is no fault.
func Volume(r volume.Report, wanted bool, pathFiles []string) Finding {
	f := Finding{Verdict: OK, Details: r.Lines()}
	for _, path := range pathFiles {
		f.Details = append(f.Details, "model path file in force: "+path)
	}
	files := 0
	for _, folder := range r.Folders {
		files += folder.Count
	}
	switch {
	case !r.There && r.Cut == "" && !wanted:
		return Finding{Verdict: OK, Text: "none is mounted"}
	case !r.There && r.Cut == "":
		f.Verdict, f.Text, f.Details = Fail, r.Path+" is not there", nil
		f.Advice = "attach a network volume, or set RUNPOD_VOLUME_PATH to where it is mounted"
	case r.Cut != "":
		f.Verdict, f.Text = Warn, "not all of "+r.Path+" could be looked at: "+r.Cut
		f.Advice = "a volume that does not answer delays jobs: look at its state in the provider's console"
	case len(r.Mistakes)+len(r.Ignored) > 0:
		f.Verdict, f.Text = Warn, fmt.Sprintf("%s: %d models, %d files of no use, %d likely mistakes", r.Path, files, len(r.Ignored), len(r.Mistakes))
		f.Advice = "see the lines above"
	default:
		f.Text = fmt.Sprintf("%s: %d models", r.Path, files)
	}
	return f
}
