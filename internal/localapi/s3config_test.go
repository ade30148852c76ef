package localapi

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The keys of a job's bucket are in memory alone: no file has them, and a job that
// outlives the process does not run without them as if it had brought none.
func TestFault_S10_KeysAreNotKeptOnDisk(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	const bucket = `{"endpointUrl":"https://s3.test","accessId":"canary-id","accessSecret":"canary-secret","bucketName":"b"}`
	a.want(http.StatusOK, "POST", "/run", `{"input":{"a":1},"s3Config":`+bucket+`}`)
	a.want(http.StatusOK, "POST", "/run", `{"input":{"a":1,"s3Config":`+bucket+`}}`)
	a.want(http.StatusOK, "POST", "/run", `{"input":{"a":1},"s3Config":{}}`)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte("canary")) {
			t.Errorf("%s has the keys", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	left := killed(t, dir)
	if j := a.takeOne(); string(j.S3Config) != bucket {
		t.Errorf("in this process the job has the bucket %q", j.S3Config)
	}
	b := serve(t, Config{SpoolDir: left})
	for _, want := range []bool{true, true, false} {
		if got := string(b.takeOne().S3Config); strings.Contains(got, "canary") || strings.Contains(got, "endpointUrl") != want {
			t.Errorf("in the next process a job has the bucket %q, one at all: %t", got, want)
		}
	}
}
