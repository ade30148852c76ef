package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// comfyvisor is the program as make build makes it: memory is measured without
// the race detector.
var comfyvisor = sync.OnceValues(func() (string, error) {
	return build("comfyvisor", "github.com/comfyvisor/comfyvisor/entrypoint")
})

// built starts the program as it is shipped.
func built(t *testing.T, env map[string]string) *program {
	t.Helper()
	binary, err := comfyvisor()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, options{env: env, binary: binary})
	p.waitReady()
	return p
}

// peak is the largest resident memory that comfyvisor has had, in MiB.
func (p *program) peak() int {
	p.t.Helper()
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	defer status.Close()
	for in := bufio.NewScanner(status); in.Scan(); {
		if rest, ok := strings.CutPrefix(in.Text(), "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				p.t.Fatal(err)
			}
			return kb / 1024
		}
	}
	p.t.Fatal("no VmHWM in /proc")
	return 0
}

// files is the input of a job that writes count files of so many bytes.
func files(count, bytes, seed int) string {
	return simulated("SimFiles", fmt.Sprintf(`{"count":%d,"bytes":%d,"kind":"images","ext":"png","filename_prefix":"big","seed":%d}`, count, bytes, seed))
}

// written are the hashes of what ComfyUI wrote, by the file's place.
func written(runs []comfytest.Execution) (hashes []string) {
	for _, f := range runs[len(runs)-1].Files {
		hashes = append(hashes, f.SHA256)
	}
	return hashes
}

// growth is how much resident memory may rise while a result passes that is
// larger than it by far.
const growth = 16

// An image of 10 MB comes back byte-equal as base64, and memory does not follow
// its size; nor that of one of 100 MB.
func TestFault_H6_Base64ResultsDoNotGrowMemory(t *testing.T) {
	t.Parallel()
	p := built(t, local)
	p.job(picture(1))
	before := p.peak()
	for _, size := range []int{10_000_000, 100_000_000} {
		id := p.submit(files(1, size, size))
		if got, want := p.streamed(id), written(p.executions())[0]; got != want {
			t.Errorf("%d bytes: hash %s, want %s", size, got, want)
		}
	}
	if after := p.peak(); after > before+growth {
		t.Errorf("resident memory rose from %d to %d MiB", before, after)
	}
}

// streamed waits for a job and hashes its one image without keeping it.
func (p *program) streamed(id string) string {
	p.t.Helper()
	p.waitLine("job completed", id)
	resp, err := client.Get(p.api + "/status/" + id)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReaderSize(resp.Body, 1<<20)
	const mark = `"data":"`
	for matched := 0; matched < len(mark); {
		c, err := body.ReadByte()
		if err != nil {
			p.t.Fatalf("no image in the result of job %s: %v", id, err)
		}
		if c == mark[matched] {
			matched++
		} else if matched = 0; c == mark[0] {
			matched = 1
		}
	}
	h := sha256.New()
	decoder := base64.NewDecoder(base64.StdEncoding, &upTo{r: body, end: '"'})
	if _, err := io.Copy(h, decoder); err != nil {
		p.t.Fatalf("decode the image of job %s: %v", id, err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// upTo reads until a byte comes.
type upTo struct {
	r   *bufio.Reader
	end byte
	eof bool
}

func (u *upTo) Read(p []byte) (int, error) {
	if u.eof {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if i := strings.IndexByte(string(p[:n]), u.end); i >= 0 {
		u.eof = true
		return i, nil
	}
	return n, err
}

// Two files of 50 MB go to S3 byte-equal, and memory does not follow their size.
func TestFault_H6_FilesToS3DoNotGrowMemory(t *testing.T) {
	t.Parallel()
	gateway := s3test.Start(t)
	p := built(t, with(local, bucket(gateway)...))
	p.job(picture(1))
	before := p.peak()
	a := p.job(files(2, 50_000_000, 7))
	if a.Status != "COMPLETED" || len(a.Output.Images) != 2 {
		t.Fatalf("job: %+v", a)
	}
	for i, want := range written(p.executions()) {
		resp, err := client.Get(a.Output.Images[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, resp.Body)
		resp.Body.Close()
		if got := hex.EncodeToString(h.Sum(nil)); err != nil || resp.StatusCode != http.StatusOK || got != want {
			t.Errorf("file %d: %s, %d bytes with hash %s, want %s: %v", i, resp.Status, n, got, want, err)
		}
	}
	if after := p.peak(); after > before+growth {
		t.Errorf("resident memory rose from %d to %d MiB", before, after)
	}
}
