package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// Names of other programs set up the bucket where they make a whole, and mean
// nothing where they may be a custom node's.
func TestAdopt(t *testing.T) {
	s3 := []string{"S3_ENDPOINT_URL=http://minio:9000", "S3_ACCESS_KEY=id-of-s3", "S3_SECRET_KEY=secret-of-s3", "S3_BUCKET=b"}
	aws := []string{"AWS_ACCESS_KEY_ID=id-of-aws", "AWS_SECRET_ACCESS_KEY=secret-of-aws"}
	tests := []struct {
		name                         string
		environ                      []string
		endpoint, id, secret, bucket string
	}{
		{name: "nothing"},
		{name: "a whole", environ: s3,
			endpoint: "http://minio:9000", id: "id-of-s3", secret: "secret-of-s3", bucket: "b"},
		{name: "the longer names", environ: []string{"S3_ENDPOINT_URL=http://minio:9000", "S3_ACCESS_KEY_ID=id", "S3_SECRET_ACCESS_KEY=secret", "S3_BUCKET_NAME=long", "S3_BUCKET=short"},
			endpoint: "http://minio:9000", id: "id", secret: "secret", bucket: "long"},
		{name: "a whole of AWS", environ: append([]string{"AWS_ENDPOINT_URL=http://minio:9000/b"}, aws...),
			endpoint: "http://minio:9000/b", id: "id-of-aws", secret: "secret-of-aws"},
		{name: "keys of AWS and no endpoint", environ: append([]string{"S3_BUCKET=b", "AWS_REGION=eu-west-1"}, aws...)},
		{name: "endpoint and keys without a bucket", environ: append([]string{"AWS_ENDPOINT_URL=http://minio:9000/"}, aws...)},
		{name: "endpoint without keys", environ: []string{"S3_ENDPOINT_URL=http://minio:9000/b"}},
		{name: "one key", environ: []string{"S3_ENDPOINT_URL=http://minio:9000/b", "S3_ACCESS_KEY=id-of-s3"}},
		{name: "keys are a pair", environ: append([]string{"S3_ENDPOINT_URL=http://minio:9000/b", "S3_ACCESS_KEY=id-of-s3"}, aws...),
			endpoint: "http://minio:9000/b", id: "id-of-aws", secret: "secret-of-aws"},
		{name: "ours is not mixed with theirs", environ: append([]string{"BUCKET_ACCESS_KEY_ID=id-of-ours"}, s3...),
			id: "id-of-ours"},
		{name: "our endpoint takes keys and nothing else", environ: append([]string{"BUCKET_ENDPOINT_URL=http://ours:9000/ours"}, s3...),
			endpoint: "http://ours:9000/ours", id: "id-of-s3", secret: "secret-of-s3"},
		{name: "our own come first", environ: append([]string{"BUCKET_ENDPOINT_URL=http://ours:9000", "BUCKET_ACCESS_KEY_ID=id-of-ours", "BUCKET_SECRET_ACCESS_KEY=secret-of-ours", "BUCKET_NAME=ours"}, s3...),
			endpoint: "http://ours:9000", id: "id-of-ours", secret: "secret-of-ours", bucket: "ours"},
		{name: "faults of names that do not count are none", environ: []string{"S3_ENDPOINT_URL=minio:9000", "S3_SIGNED_URL_EXPIRY=soon", "S3_ADDRESSING_STYLE=odd"}},
		{name: "empty is unset", environ: append([]string{"BUCKET_ENDPOINT_URL= ", "BUCKET_NAME="}, s3...),
			endpoint: "http://minio:9000", id: "id-of-s3", secret: "secret-of-s3", bucket: "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := configFromEnv(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			b := cfg.Bucket
			got := []string{b.Endpoint, b.AccessKeyID.Reveal(), b.SecretAccessKey.Reveal(), b.Name}
			if diff := cmp.Diff([]string{tt.endpoint, tt.id, tt.secret, tt.bucket}, got); diff != "" {
				t.Errorf("endpoint, id, secret, bucket (-want +got):\n%s", diff)
			}
		})
	}
}

// With the bucket comes how it is addressed, and a fault is told under the name
// that stands in the environment.
func TestAdoptTakesTheSettingsToo(t *testing.T) {
	whole := []string{"S3_ENDPOINT_URL=http://minio:9000/b", "S3_ACCESS_KEY=id-of-s3", "S3_SECRET_KEY=secret-of-s3"}
	cfg, err := configFromEnv(append(whole, "S3_REGION=auto", "AWS_REGION=eu", "S3_PUBLIC_URL=https://cdn.test", "S3_SIGNED_URL_EXPIRY=3600", "S3_ADDRESSING_STYLE=path"))
	if err != nil {
		t.Fatal(err)
	}
	b := cfg.Bucket
	if b.Region != "auto" || b.PublicURL != "https://cdn.test" || b.PresignExpiry.Seconds() != 3600 || b.Style != "path" {
		t.Errorf("got %+v", b)
	}
	if _, err = configFromEnv(append(whole, "S3_SIGNED_URL_EXPIRY=30d")); err == nil || !strings.Contains(err.Error(), "S3_SIGNED_URL_EXPIRY: want") && !strings.Contains(err.Error(), "S3_SIGNED_URL_EXPIRY=30d: want") {
		t.Errorf("a fault is told as %v", err)
	}
}

// Keys that were adopted are ours: ComfyUI is given them only where it is asked
// for. Keys that were not are the nodes'.
func TestAdoptedKeysAreKeptFromComfyUI(t *testing.T) {
	environ := []string{"S3_ENDPOINT_URL=http://minio:9000/b", "S3_ACCESS_KEY=id-of-s3-1", "S3_SECRET_KEY=secret-of-s3", "AWS_ACCESS_KEY_ID=id-of-aws", "AWS_SECRET_ACCESS_KEY=secret-of-aws", "COPY=secret-of-s3"}
	tests := []struct {
		name string
		more []string
		want []string
	}{
		{"adopted", nil, []string{environ[0], environ[3], environ[4]}},
		{"not adopted", []string{"BUCKET_ENDPOINT_URL=http://ours/b", "BUCKET_ACCESS_KEY_ID=id-of-ours", "BUCKET_SECRET_ACCESS_KEY=secret-of-ours"}, environ},
		{"asked for", []string{"COMFY_ENV_PASS=S3_ACCESS_KEY,S3_SECRET_KEY"}, append(environ[:5:5], "COMFY_ENV_PASS=S3_ACCESS_KEY,S3_SECRET_KEY")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			all := append(environ[:len(environ):len(environ)], tt.more...)
			cfg, err := configFromEnv(all)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, comfyEnv(all, cfg, "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A pod that knows its bucket by other names only stores files in it.
func TestVariable_S3_ENDPOINT_URL(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	p := start(t, options{env: with(local, "S3_ENDPOINT_URL", "http://"+gw.Addr, "S3_BUCKET", gw.Bucket,
		"S3_ACCESS_KEY", gw.AccessKey, "S3_SECRET_KEY", gw.SecretKey)})
	p.waitReady()
	a := p.job(picture(1))
	if a.Status != "COMPLETED" || len(a.Output.Images) != 1 || a.Output.Images[0].Type != "s3_url" {
		t.Fatalf("job: %+v", a)
	}
	key, _, _ := strings.Cut(strings.TrimPrefix(a.Output.Images[0].Data, gw.Endpoint()+"/"), "?")
	if _, err := os.Stat(gw.Path(key)); err != nil {
		t.Errorf("the file is not in the bucket: %v", err)
	}
	if log := p.log(); strings.Contains(log, gw.SecretKey) {
		t.Error("the secret key stands in the log")
	}
}
