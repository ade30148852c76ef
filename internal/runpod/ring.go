package runpod

import (
	"os"

	"github.com/comfyvisor/comfyvisor/internal/spool"
)

// fewBytes is the size of a ring that finds no place for its file.
const fewBytes = 4 << 20

// A ring keeps the last bytes written to it, size of them: in a file, since they
// are rarely asked for, or else in memory. Places in it are counted from the first
// byte ever written.
type ring struct {
	dir  string
	size int64
	file *os.File // nil before the first byte, and where few are kept
	few  []byte
	head int64 // where the next byte goes
}

// open makes the file, or finds that there is no place for it.
func (r *ring) open() {
	if r.file != nil || r.few != nil {
		return
	}
	file, err := spool.Unnamed(r.dir)
	if err != nil {
		r.size = min(r.size, fewBytes)
		r.few = make([]byte, r.size)
		return
	}
	r.file = file
}

// write adds bytes, over the oldest ones.
func (r *ring) write(p []byte) error {
	for len(p) > 0 {
		at := r.head % r.size
		n := min(int64(len(p)), r.size-at)
		if r.file == nil {
			copy(r.few[at:], p[:n])
		} else if _, err := r.file.WriteAt(p[:n], at); err != nil {
			return err
		}
		r.head += n
		p = p[n:]
	}
	return nil
}

// read returns size bytes from a place on, nil if they cannot be read.
func (r *ring) read(from, size int64) []byte {
	p := make([]byte, size)
	for rest := p; len(rest) > 0; {
		at := from % r.size
		n := min(int64(len(rest)), r.size-at)
		if r.file == nil {
			copy(rest[:n], r.few[at:])
		} else if _, err := r.file.ReadAt(rest[:n], at); err != nil {
			return nil
		}
		from += n
		rest = rest[n:]
	}
	return p
}
