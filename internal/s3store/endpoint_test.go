package s3store

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// recorder answers every request as a store that took it, and keeps the last.
type recorder struct{ last *http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
	}
	r.last = req
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// Every form in which providers show a bucket's address leads to the request
// that this provider expects: host, path, region, plain SigV4.
func TestFault_S7_EndpointForms(t *testing.T) {
	const account = "0123456789abcdef0123456789abcdef"
	tests := []struct {
		name, endpoint, bucket, region, style string
		wantURL, wantRegion                   string // the URL up to the key
		plain                                 bool   // the link is not signed
	}{
		{name: "RunPod", endpoint: "https://s3api-eu-ro-1.runpod.io/vol1", wantURL: "https://s3api-eu-ro-1.runpod.io/vol1/", wantRegion: "eu-ro-1", plain: true},
		{name: "RunPod, trailing slash", endpoint: "https://s3api-eur-is-1.runpod.io/vol1/", wantURL: "https://s3api-eur-is-1.runpod.io/vol1/", wantRegion: "eur-is-1", plain: true},
		{name: "RunPod, region from the environment", endpoint: "https://s3api-eu-ro-1.runpod.io/vol1", region: "EU-RO-1", wantURL: "https://s3api-eu-ro-1.runpod.io/vol1/", wantRegion: "EU-RO-1", plain: true},
		{name: "AWS, virtual", endpoint: "https://b.s3.eu-west-1.amazonaws.com", wantURL: "https://b.s3.eu-west-1.amazonaws.com/", wantRegion: "eu-west-1"},
		{name: "AWS, virtual with dots", endpoint: "https://my.own.b.s3.eu-west-1.amazonaws.com/", wantURL: "https://my.own.b.s3.eu-west-1.amazonaws.com/", wantRegion: "eu-west-1"},
		{name: "AWS, virtual, bucket named twice", endpoint: "https://b.s3.eu-west-1.amazonaws.com/b", bucket: "b", wantURL: "https://b.s3.eu-west-1.amazonaws.com/", wantRegion: "eu-west-1"},
		{name: "AWS, no region in the host", endpoint: "https://b.s3.amazonaws.com", wantURL: "https://b.s3.amazonaws.com/", wantRegion: "us-east-1"},
		{name: "AWS, no region in the host but in the environment", endpoint: "https://b.s3.amazonaws.com", region: "ap-south-1", wantURL: "https://b.s3.amazonaws.com/", wantRegion: "ap-south-1"},
		{name: "AWS, path", endpoint: "https://s3.eu-west-1.amazonaws.com/b", wantURL: "https://s3.eu-west-1.amazonaws.com/b/", wantRegion: "eu-west-1"},
		{name: "AWS, bare", endpoint: "https://s3.eu-west-1.amazonaws.com", bucket: "b", wantURL: "https://s3.eu-west-1.amazonaws.com/b/", wantRegion: "eu-west-1"},
		{name: "AWS, old dash", endpoint: "https://b.s3-us-west-2.amazonaws.com", wantURL: "https://b.s3-us-west-2.amazonaws.com/", wantRegion: "us-west-2"},
		{name: "AWS, dual stack", endpoint: "https://b.s3.dualstack.us-west-2.amazonaws.com", wantURL: "https://b.s3.dualstack.us-west-2.amazonaws.com/", wantRegion: "us-west-2"},
		{name: "AWS, China", endpoint: "https://b.s3.cn-north-1.amazonaws.com.cn", wantURL: "https://b.s3.cn-north-1.amazonaws.com.cn/", wantRegion: "cn-north-1"},
		{name: "AWS, virtual turned to path", endpoint: "https://b.s3.eu-west-1.amazonaws.com", style: "path", wantURL: "https://s3.eu-west-1.amazonaws.com/b/", wantRegion: "eu-west-1"},
		{name: "R2", endpoint: "https://" + account + ".r2.cloudflarestorage.com/b", wantURL: "https://" + account + ".r2.cloudflarestorage.com/b/", wantRegion: "auto"},
		{name: "R2, jurisdiction", endpoint: "https://" + account + ".eu.r2.cloudflarestorage.com/b", wantURL: "https://" + account + ".eu.r2.cloudflarestorage.com/b/", wantRegion: "auto"},
		{name: "R2, virtual", endpoint: "https://b." + account + ".r2.cloudflarestorage.com", wantURL: "https://b." + account + ".r2.cloudflarestorage.com/", wantRegion: "auto"},
		{name: "R2, any account", endpoint: "https://account.r2.cloudflarestorage.com/b", wantURL: "https://account.r2.cloudflarestorage.com/b/", wantRegion: "auto"},
		{name: "B2, path", endpoint: "https://s3.us-west-004.backblazeb2.com/b", wantURL: "https://s3.us-west-004.backblazeb2.com/b/", wantRegion: "us-west-004"},
		{name: "B2, virtual", endpoint: "https://b.s3.us-west-004.backblazeb2.com", wantURL: "https://b.s3.us-west-004.backblazeb2.com/", wantRegion: "us-west-004"},
		{name: "Spaces, virtual", endpoint: "https://b.nyc3.digitaloceanspaces.com", wantURL: "https://b.nyc3.digitaloceanspaces.com/", wantRegion: "nyc3"},
		{name: "Spaces, path", endpoint: "https://nyc3.digitaloceanspaces.com/b", wantURL: "https://nyc3.digitaloceanspaces.com/b/", wantRegion: "nyc3"},
		{name: "Wasabi", endpoint: "https://s3.eu-central-1.wasabisys.com/b", wantURL: "https://s3.eu-central-1.wasabisys.com/b/", wantRegion: "eu-central-1"},
		{name: "Wasabi, no region", endpoint: "https://s3.wasabisys.com", bucket: "b", wantURL: "https://s3.wasabisys.com/b/", wantRegion: "us-east-1"},
		{name: "Scaleway", endpoint: "https://b.s3.fr-par.scw.cloud", wantURL: "https://b.s3.fr-par.scw.cloud/", wantRegion: "fr-par"},
		{name: "Google", endpoint: "https://storage.googleapis.com/b", wantURL: "https://storage.googleapis.com/b/", wantRegion: "auto"},
		{name: "MinIO", endpoint: "http://minio:9000/b", wantURL: "http://minio:9000/b/", wantRegion: "us-east-1"},
		{name: "MinIO, bare", endpoint: "http://minio:9000/", bucket: "b", region: "home-1", wantURL: "http://minio:9000/b/", wantRegion: "home-1"},
		{name: "MinIO, upper case", endpoint: "HTTP://MinIO:9000/Bucket", wantURL: "http://minio:9000/Bucket/", wantRegion: "us-east-1"},
		{name: "MinIO, virtual", endpoint: "https://minio.example.com", bucket: "b", style: "virtual", wantURL: "https://b.minio.example.com/", wantRegion: "us-east-1"},
		{name: "virtual, bucket already in an unknown host", endpoint: "https://b.oss-cn-hangzhou.aliyuncs.com", bucket: "b", style: "virtual", region: "cn-hangzhou", wantURL: "https://b.oss-cn-hangzhou.aliyuncs.com/", wantRegion: "cn-hangzhou"},
		{name: "IPv4", endpoint: "http://127.0.0.1:9000/b", wantURL: "http://127.0.0.1:9000/b/", wantRegion: "us-east-1"},
		{name: "IPv6", endpoint: "http://[fd00::1]:9000/b", wantURL: "http://[fd00::1]:9000/b/", wantRegion: "us-east-1"},
		{name: "IPv6 without a port", endpoint: "https://[fd00::1]/b", wantURL: "https://[fd00::1]/b/", wantRegion: "us-east-1"},
	}
	scope := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=` + testAccess + `/\d{8}/([^/]+)/s3/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, Signature=[0-9a-f]{64}$`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &recorder{}
			s, _ := testStore(t, nil, func(c *Config) {
				c.EndpointURL, c.BucketName, c.Region, c.PathStyle = tt.endpoint, tt.bucket, tt.region, tt.style
				c.Transport = rec
				c.KeyTemplate = "{job_id}/{filename}"
			})
			file, err := s.Put(t.Context(), "job-1", 0, bytesFile("a b+c.png", []byte("png")))
			if err != nil {
				t.Fatal(err)
			}
			want := tt.wantURL + "job-1/a%20b%2Bc.png"
			if got := rec.last.Method + " " + rec.last.URL.String(); got != "PUT "+want {
				t.Errorf("request\n got %s\nwant PUT %s", got, want)
			}
			m := scope.FindStringSubmatch(rec.last.Header.Get("Authorization"))
			if m == nil || m[1] != tt.wantRegion {
				t.Errorf("Authorization is %q, want plain SigV4 for region %s", rec.last.Header.Get("Authorization"), tt.wantRegion)
			}
			link, query, signed := strings.Cut(file.URL, "?")
			if link != want || signed == tt.plain {
				t.Errorf("link\n got %s\nwant %s, signed: %t", file.URL, want, !tt.plain)
			}
			if signed && !strings.Contains(query, "X-Amz-Expires=604800") {
				t.Errorf("link %s is not signed for 7 days", file.URL)
			}
		})
	}
}

func TestNewNamesTheVariableAtFault(t *testing.T) {
	good := Config{EndpointURL: "http://minio:9000/b", AccessKeyID: testAccess, SecretAccessKey: testSecret}
	tests := []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"no keys", func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "", "" }, []string{"BUCKET_ACCESS_KEY_ID is not set", "BUCKET_SECRET_ACCESS_KEY is not set"}},
		{"line break in a key", func(c *Config) { c.SecretAccessKey += "\n" }, []string{"BUCKET_SECRET_ACCESS_KEY has a blank"}},
		{"no bucket", func(c *Config) { c.EndpointURL = "http://minio:9000" }, []string{"names no bucket: append it, like http://minio:9000/my-bucket, or set BUCKET_NAME"}},
		{"no bucket at RunPod", func(c *Config) { c.EndpointURL = "https://s3api-eu-ro-1.runpod.io/" }, []string{"append it, like https://s3api-eu-ro-1.runpod.io/my-bucket, or set BUCKET_NAME"}},
		{"two buckets", func(c *Config) { c.BucketName = "other" }, []string{"different buckets, b and other"}},
		{"host and path differ", func(c *Config) { c.EndpointURL = "https://b.s3.eu-west-1.amazonaws.com/c" }, []string{"different buckets, b and c"}},
		{"folder", func(c *Config) { c.EndpointURL += "/images/today" }, []string{`"b/images/today"`, "BUCKET_KEY_TEMPLATE"}},
		{"bucket name", func(c *Config) { c.EndpointURL = "http://minio:9000/b%3Fx" }, []string{`bucket name "b?x"`}},
		{"no scheme", func(c *Config) { c.EndpointURL = "minio:9000/b" }, []string{"BUCKET_ENDPOINT_URL is not a web address"}},
		{"s3 scheme", func(c *Config) { c.EndpointURL = "s3://b" }, []string{"BUCKET_ENDPOINT_URL is not a web address"}},
		{"password", func(c *Config) { c.EndpointURL = "https://user:" + testSecret + "@minio/b" }, []string{"not a web address"}},
		{"password that parses", func(c *Config) { c.EndpointURL = "https://" + testAccess + ":canary@minio/b" }, []string{"BUCKET_ENDPOINT_URL holds a user name or a password"}},
		{"query", func(c *Config) { c.EndpointURL += "?a=" + testAccess }, []string{"write only http://minio:9000/b"}},
		{"style", func(c *Config) { c.PathStyle = "vhost" }, []string{`BUCKET_ADDRESSING_STYLE is "vhost"`, "auto, path or virtual"}},
		{"virtual address", func(c *Config) { c.EndpointURL, c.PathStyle = "http://10.0.0.1/b", "virtual" }, []string{"10.0.0.1 is an address", "BUCKET_ADDRESSING_STYLE=path"}},
		{"expiry", func(c *Config) { c.PresignExpiry = maxExpiry + 1 }, []string{"BUCKET_PRESIGN_EXPIRY", "7 days"}},
		{"public URL", func(c *Config) { c.PublicURL = "cdn.example.com" }, []string{"BUCKET_PUBLIC_URL", "https://cdn.example.com/outputs"}},
		{"template", func(c *Config) { c.KeyTemplate = "{date}/{filename}" }, []string{"BUCKET_KEY_TEMPLATE", "lacks {job_id}"}},
		{"everything", func(c *Config) { *c = Config{PathStyle: "x", KeyTemplate: "x"} }, []string{"BUCKET_ENDPOINT_URL", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY", "BUCKET_KEY_TEMPLATE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			_, err := New(cfg, zap.NewNop())
			if err == nil {
				t.Fatal("New took it")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error\n got %v\nwant %q in it", err, want)
				}
			}
			if hasSecret(err.Error()) {
				t.Errorf("error repeats a secret: %v", err)
			}
		})
	}
	if _, err := New(good, zap.NewNop()); err != nil {
		t.Errorf("a good configuration was refused: %v", err)
	}
}

// hasSecret finds the test's keys in any text.
func hasSecret(text string) bool {
	return strings.Contains(text, testAccess) || strings.Contains(text, testSecret) || strings.Contains(strings.ToLower(text), "canary")
}

func TestPublicURLStandsBeforeTheKey(t *testing.T) {
	s, _ := testStore(t, nil, func(c *Config) {
		c.Transport = &recorder{}
		c.PublicURL = "https://cdn.example.com/out/"
		c.KeyTemplate = "{job_id}/{filename}"
	})
	file, err := s.Put(t.Context(), "j", 0, bytesFile("ä#1.png", nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://cdn.example.com/out/j/%C3%A4%231.png"; file.URL != want {
		t.Errorf("URL = %s, want %s", file.URL, want)
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, seed := range []string{"https://s3api-eu-ro-1.runpod.io/b", "https://b.s3.amazonaws.com", "http://[::1]:9000/b", "https://s3..amazonaws.com/", "http://%zz",
		"https://b.s3.eu-west-1.amazonaws.com", "https://s3.dualstack.eu-west-1.amazonaws.com/b", "https://b.s3-accelerate.amazonaws.com",
		"https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com/b", "https://s3.us-west-004.backblazeb2.com/b", "https://b.nyc3.digitaloceanspaces.com",
		"https://storage.googleapis.com/b", "http://minio:9000/b/", "https://user:pass@minio/b", "https://minio/b?x=1#y", "HTTPS://MINIO/b", "http://minio/%2e%2e",
		"https://" + strings.Repeat("a.", 200) + "s3.amazonaws.com"} {
		f.Add(seed, "", "")
	}
	f.Add("http://minio", "b", "virtual")
	f.Fuzz(func(t *testing.T, raw, bucket, style string) {
		at, err := parseEndpoint(raw, bucket, "", style)
		if err != nil {
			return
		}
		if at.bucket == "" || at.server == "" || at.region == "" {
			t.Errorf("parseEndpoint(%q, %q, %q) left something open: %+v", raw, bucket, style, at)
		}
		if _, err := http.NewRequest(http.MethodPut, at.objectURL("a/b"), nil); err != nil {
			t.Errorf("parseEndpoint(%q, %q, %q) gives the URL %q: %v", raw, bucket, style, at.objectURL("a/b"), err)
		}
	})
}
