package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// s3Config is the bucket of a gateway as a job names it.
func s3Config(gw *s3test.Gateway) string {
	return fmt.Sprintf(`{"endpointUrl":"http://%s","accessId":%q,"accessSecret":%q,"bucketName":%q}`, gw.Addr, gw.AccessKey, gw.SecretKey, gw.Bucket)
}

// inBucket tells whether the link of an image leads to a PNG in the bucket.
func inBucket(t *testing.T, gw *s3test.Gateway, url string) {
	t.Helper()
	if !strings.HasPrefix(url, gw.Endpoint()+"/") {
		t.Fatalf("the image is at %.100s, want it in %s", url, gw.Endpoint())
	}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "image/png" {
		t.Errorf("GET %s: %s, %s", url, resp.Status, resp.Header.Get("Content-Type"))
	}
}

// nowhere fails the test if the secret stands in the log or in any file of the pod.
func (p *program) nowhere(secret string) {
	p.t.Helper()
	if strings.Contains(p.log(), secret) {
		p.t.Error("the secret stands in the log")
	}
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go while the pod runs
		}
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte(secret)) {
			p.t.Errorf("the secret stands in %s", path)
		}
		return nil
	})
	if err != nil {
		p.t.Error(err)
	}
}

// A job's files go to the bucket that it names, beside its input or inside it,
// whichever way it comes, and the keys to it are nowhere afterwards: not in the
// log, the results or any file.
func TestFault_S10_FilesGoToTheJobsBucket(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	inside := `{"s3Config":` + s3Config(gw) + `,` + picture(1)[1:]
	check := func(t *testing.T, p *program, a answer) {
		t.Helper()
		if a.Status != "COMPLETED" || len(a.Output.Images) != 1 {
			t.Fatalf("job: %+v", a)
		}
		inBucket(t, gw, a.Output.Images[0].Data)
		p.nowhere(gw.SecretKey)
	}
	t.Run("local API", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "ALLOW_PRIVATE_URLS", "true")})
		p.waitReady()
		check(t, p, p.job(inside))
		var a answer
		p.post("/runsync?wait=120000", `{"input":`+picture(2)+`,"s3Config":`+s3Config(gw)+`}`, &a)
		check(t, p, a)
		if a := p.job(picture(3)); a.Status != "COMPLETED" || strings.HasPrefix(a.Output.Images[0].Data, "http") {
			t.Errorf("a job without a bucket: %s %.60s", a.Status, a.Output.Images[0].Data)
		}
		if failed := p.job(`{"s3Config":` + strings.Replace(s3Config(gw), gw.SecretKey, "canary-secret-of-a-stranger", 1) + `,` + picture(4)[1:]); failed.Output.Cause != "s3_upload_failed" || !strings.Contains(failed.Error, "s3Config.accessSecret") || strings.Contains(failed.Error, "canary") {
			t.Errorf("with a wrong key: %+v", failed)
		}
		p.nowhere("canary-secret-of-a-stranger")
	})
	t.Run("queue", func(t *testing.T) {
		t.Parallel()
		p, q := queued(t, runpodtest.Config{Hold: hold}, "ALLOW_PRIVATE_URLS", "true")
		q.SubmitEntry("beside", `{"id":"beside","input":`+picture(1)+`,"s3Config":`+s3Config(gw)+`}`)
		q.Submit("inside", inside)
		for _, id := range []string{"beside", "inside"} {
			o := ends(t, q, id)
			var a answer
			if err := json.Unmarshal(o.Output, &a.Output); err != nil {
				t.Fatal(err)
			}
			a.Status = string(o.Status)
			check(t, p, a)
		}
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "job.json")
		if err := os.WriteFile(file, []byte(`{"input":`+picture(1)+`,"s3Config":`+s3Config(gw)+`}`), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, options{args: []string{"run", file}, env: map[string]string{"ALLOW_PRIVATE_URLS": "true"}})
		p.exit()
		var a answer
		if err := json.Unmarshal(p.stdout.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		check(t, p, a)
	})
}

// Without ALLOW_PRIVATE_URLS nobody on a private network is connected to for a
// job's bucket, however the address is written.
func TestFault_S10_PrivateBucketsAreRefused(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var connects atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connects.Add(1)
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := start(t, options{env: local})
	p.waitReady()
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254", "10.1.2.3"} {
		began := time.Now()
		a := p.job(`{"s3Config":{"endpointUrl":"http://` + host + `/b","accessId":"id","accessSecret":"canary-of-the-job"},` + picture(1)[1:])
		if a.Status != "FAILED" || a.Output.Cause != "bad_input" || !strings.Contains(a.Error, "s3Config.endpointUrl") {
			t.Errorf("%s: %+v after %v", host, a, time.Since(began))
		}
	}
	if n := connects.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	p.nowhere("canary-of-the-job")
}
