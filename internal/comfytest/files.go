package comfytest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A place is where a node saves: a folder, and the name and the number of the
// next file in it.
type place struct {
	kind      string // output or temp
	folder    string
	subfolder string
	name      string
	next      int
	bare      bool // no _ between the number and the extension
}

// place finds the folder of a filename_prefix and makes it: the number is the
// highest one of that name plus one, whatever the extension.
func (k *call) place(kind, prefix string, w, h int) (*place, error) {
	root := k.c.cfg.OutputDir
	if kind == "temp" {
		root = k.c.cfg.TempDir
	}
	prefix = strings.NewReplacer("%width%", strconv.Itoa(w), "%height%", strconv.Itoa(h)).Replace(prefix)
	clean := filepath.Clean(prefix)
	p := &place{kind: kind, name: filepath.Base(clean), subfolder: filepath.Dir(clean)}
	if p.subfolder == "." {
		p.subfolder = ""
	}
	p.folder = filepath.Join(root, p.subfolder)
	if filepath.IsAbs(p.subfolder) {
		p.folder = p.subfolder
	}
	if err := k.c.jail(root, p.folder); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.folder, 0o777); err != nil {
		return nil, &exception{"OSError", err.Error()}
	}
	p.next = highest(p.folder, p.name, k.c.gen.newNodes) + 1
	return p, nil
}

// jail refuses folders outside of root. The newer generation follows symbolic
// links before it looks.
func (c *Comfy) jail(root, folder string) error {
	inside, outside := root, filepath.Clean(folder)
	if c.gen.jailed {
		outside = resolved(outside)
		inside = resolved(inside)
	}
	if within(inside, outside) {
		return nil
	}
	text := fmt.Sprintf("**** ERROR: Saving image outside the output folder is not allowed.\n full_output_folder: %s\n         output_dir: %s",
		filepath.Clean(folder), root)
	if !c.gen.jailed {
		text += "\n         commonpath: " + commonPath(inside, outside)
	}
	return &exception{"Exception", text}
}

// resolved follows the symbolic links of the part of path that exists.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	dir := filepath.Dir(path)
	if dir == path {
		return path
	}
	return filepath.Join(resolved(dir), filepath.Base(path))
}

func within(root, path string) bool {
	rel, err := filepath.Rel(root, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func commonPath(a, b string) string {
	for !within(a, b) {
		a = filepath.Dir(a)
	}
	return a
}

// highest returns the highest number that a file called name has, 0 if none.
func highest(folder, name string, bareToo bool) int {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0
	}
	top := 0
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), name+"_")
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, "_")
		if bareToo {
			digits, _, _ = strings.Cut(digits, ".")
		}
		if n, err := strconv.Atoi(digits); err == nil {
			top = max(top, n)
		}
	}
	return top
}

// save writes the next file of a place and returns it as nodes report it.
func (k *call) save(p *place, ext string, write func(io.Writer) error) (*object, error) {
	mark := "_"
	if p.bare {
		mark = ""
	}
	name := fmt.Sprintf("%s_%05d%s.%s", strings.ReplaceAll(p.name, "%batch_num%", "0"), p.next, mark, ext)
	p.next++
	if err := k.write(filepath.Join(p.folder, name), write); err != nil {
		return nil, err
	}
	return obj("filename", name, "subfolder", p.subfolder, "type", p.kind), nil
}

// write makes a file and enters it into the ledger.
func (k *call) write(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return &exception{"OSError", err.Error()}
	}
	sum := sha256.New()
	counted := &counter{w: io.MultiWriter(f, sum)}
	err = write(counted)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return &exception{"OSError", err.Error()}
	}
	k.c.ledger.note(func() {
		e := k.run.p.execution
		e.Files = append(e.Files, WrittenFile{Node: k.id, Path: path, Bytes: counted.n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	})
	return nil
}

// A counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// noise writes n pseudo-random bytes: the same for the same seed.
func noise(w io.Writer, seed uint64, n int64) error {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, err := io.CopyN(w, rand.NewChaCha8(key), n)
	return err
}

// randomLetters names what belongs to one incarnation.
func randomLetters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}
