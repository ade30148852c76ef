package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// An s3Config of a wrong shape is refused with the field named and no value; one
// that is null or empty is none.
func TestFault_S10_ShapesOfS3Config(t *testing.T) {
	whole := Bucket{Field: "s3Config", EndpointURL: "https://s3.test", AccessID: "id", AccessSecret: "canary-secret", Name: "b"}
	tests := []struct {
		name, text string
		want       *Bucket
		err        string
	}{
		{name: "none"},
		{name: "null", text: "null"},
		{name: "nothing in it", text: `{}`},
		{name: "all empty", text: `{"endpointUrl":"","accessId":"","accessSecret":"","bucketName":""}`},
		{name: "whole", text: `{"endpointUrl":"https://s3.test","accessId":"id","accessSecret":"canary-secret","bucketName":"b"}`, want: &whole},
		{name: "more than we know", text: `{"endpointUrl":"https://s3.test","accessId":"id","accessSecret":"canary-secret","bucketName":"b","region":"x"}`, want: &whole},
		{name: "secret missing", text: `{"endpointUrl":"https://s3.test","accessId":"id","bucketName":"b"}`, err: "s3Config.accessSecret: missing"},
		{name: "bucket alone", text: `{"bucketName":"b"}`, err: "s3Config.endpointUrl, s3Config.accessId, s3Config.accessSecret: missing"},
		{name: "blank secret", text: `{"endpointUrl":"https://s3.test","accessId":"id","accessSecret":" ","bucketName":"b"}`, err: "s3Config.accessSecret: missing"},
		{name: "number for a secret", text: `{"accessSecret":424242}`, err: "s3Config.accessSecret is not a string"},
		{name: "text", text: `"canary"`, err: "s3Config is not an object: want"},
		{name: "list", text: `[]`, err: "s3Config is not an object: want"},
		{name: "cut", text: `{"accessId":"canary`, err: "s3Config is not an object: want"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseBucket("s3Config", json.RawMessage(tt.text))
			if tt.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "424242") {
					t.Errorf("error repeats a value: %v", err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func FuzzParseBucket(f *testing.F) {
	for _, seed := range []string{
		`{"endpointUrl":"https://s3.test","accessId":"id","accessSecret":"secret","bucketName":"b"}`,
		`{"endpointUrl":["x"]}`, `{"ENDPOINTURL":"x"}`, `{"accessId":1e999}`, `null`, `{}`, `"\ud800"`, "\xff{", `{"accessSecret":{"a":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := parseBucket("s3Config", raw)
		if b != nil && (b.EndpointURL == "" || b.AccessID == "" || b.AccessSecret == "" || err != nil) {
			t.Errorf("%q makes %+v, %v", raw, b, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "s3Config") {
			t.Errorf("%q: error %v does not name the field", raw, err)
		}
	})
}

// kept is a bucket that remembers what it was given.
type kept struct{ names []string }

func (k *kept) Put(_ context.Context, _ string, _ int, f job.File) (job.File, error) {
	k.names = append(k.names, f.Filename)
	f.URL = "https://theirs.test/" + f.Filename
	return f, nil
}

// A job's own bucket is where its files go, and only its own; it is closed, and
// its keys are forgotten, when the job has ended.
func TestFault_S10_BucketOfTheJobAlone(t *testing.T) {
	ours, theirs := new(kept), new(kept)
	var opened Bucket
	var mu sync.Mutex // deliveries end beside later jobs
	closed := 0
	guarded := map[string]int{}
	count := func(n *int, by int) { mu.Lock(); *n += by; mu.Unlock() }
	guard := func(s string, by int) { mu.Lock(); guarded[s] += by; mu.Unlock() }
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Store = ours
		c.Guard = func(s string) func() { guard(s, 1); return func() { guard(s, -1) } }
		c.Bucket = func(b Bucket) (Store, func(), error) {
			opened = b
			mu.Lock()
			if guarded[b.AccessSecret] == 0 || guarded[b.AccessID] == 0 {
				t.Errorf("while the bucket is opened these are guarded: %v", guarded)
			}
			mu.Unlock()
			if b.Name == "wrong" {
				return nil, nil, errors.New(b.Field + ".bucketName is wrong")
			}
			return theirs, func() { count(&closed, 1) }, nil
		}
	})
	const inside = `"s3Config":{"endpointUrl":"https://inside.test","accessId":"id-inside","accessSecret":"secret-inside","bucketName":"b"},`
	const beside = `{"endpointUrl":"https://beside.test","accessId":"id-beside","accessSecret":"secret-beside","bucketName":"b"}`
	submit := func(id, input, beside string) delivered {
		p.source.submit(job.Job{ID: id, Input: json.RawMessage(input), S3Config: json.RawMessage(beside)})
		return p.source.wait(t, id)
	}
	made := picture(1)
	if d := submit("plain", made, ""); d.Failure != nil || len(ours.names) != 1 || len(theirs.names) != 0 {
		t.Fatalf("a job without a bucket: %+v, ours %v, theirs %v", d.Failure, ours.names, theirs.names)
	}
	if d := submit("inside", "{"+inside+made[1:], "null"); d.Failure != nil || opened.Field != "input.s3Config" || opened.AccessID != "id-inside" || len(theirs.names) != 1 {
		t.Errorf("bucket inside: %+v, opened %q, theirs %v", d.Failure, opened.Field, theirs.names)
	}
	if d := submit("beside", "{"+inside+made[1:], beside); d.Failure != nil || opened.Field != "s3Config" || opened.AccessID != "id-beside" || len(theirs.names) != 2 {
		t.Errorf("bucket beside: %+v, opened %q, theirs %v", d.Failure, opened.Field, theirs.names)
	}
	if d := submit("wrong", made, strings.Replace(beside, `"b"`, `"wrong"`, 1)); d.Failure == nil || d.Failure.Cause != CauseBadInput || d.Failure.Message != "s3Config.bucketName is wrong" {
		t.Errorf("a bucket that cannot be opened: %+v", d.Failure)
	}
	p.stop()
	<-p.ended // with the last delivery
	if len(ours.names) != 1 || closed != 2 {
		t.Errorf("ours got %v, %d buckets were closed; want one file and 2", ours.names, closed)
	}
	for s, n := range guarded {
		if n != 0 {
			t.Errorf("%s is still guarded", s)
		}
	}
}
