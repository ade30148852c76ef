package s3store

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	defaultAttempts    = 6
	defaultDeadline    = 2 * time.Minute
	defaultIdle        = 30 * time.Second
	defaultPartSize    = 16 << 20
	defaultWholeSize   = 64 << 20
	defaultConcurrency = 4

	maxParts  = 10_000             // in every store
	maxExpiry = 7 * 24 * time.Hour // SigV4 allows no more
)

// Config says where files go and how. The zero value of every field but the
// endpoint and the keys means the default.
type Config struct {
	EndpointURL     string // BUCKET_ENDPOINT_URL, in any form that doc.go names
	AccessKeyID     string // BUCKET_ACCESS_KEY_ID
	SecretAccessKey string // BUCKET_SECRET_ACCESS_KEY
	Region          string // AWS_DEFAULT_REGION, which wins over the endpoint's
	BucketName      string // BUCKET_NAME, for endpoints that name no bucket
	PathStyle       string // BUCKET_ADDRESSING_STYLE: auto, path or virtual

	// KeyTemplate names the objects. It may hold {date}, {job_id}, {node},
	// {filename}, {name}, {ext} with its dot, and {index}; {filename} and
	// {name} begin with the subfolder of a file that has one.
	KeyTemplate string // BUCKET_KEY_TEMPLATE
	// PresignExpiry is how long a signed link works, 7 days at most and by
	// default.
	PresignExpiry time.Duration // BUCKET_PRESIGN_EXPIRY
	// PublicURL, if set, stands before the key in place of the bucket's own
	// address, and links are not signed.
	PublicURL string // BUCKET_PUBLIC_URL

	// Retried is called for each request that is sent again; nil for nobody.
	Retried func()
	// Attempts is how often a request is sent at most, 6 by default.
	Attempts int
	// Deadline bounds the wait for a store that is down: no attempt begins
	// later than this after a request has failed first. 120 s by default.
	Deadline time.Duration
	// IdleTimeout cuts a connection on which no byte moves, after 30 s by
	// default. A transfer as a whole may take any time.
	IdleTimeout time.Duration
	// WholeSize is the size above which a file is sent in parts of PartSize,
	// of which Concurrency are under way at once. 64 MiB, 16 MiB and 4 by
	// default.
	WholeSize, PartSize int64
	Concurrency         int
	// Transport carries the requests. By default it is HTTP/1.1 with the
	// IdleTimeout, through the proxy that the environment names.
	Transport http.RoundTripper

	// Field is where a stranger named the bucket, such as input.s3Config: errors
	// speak of its fields and not of variables.
	Field string
	// Guard judges each address before it is connected to, as a net.Dialer's
	// ControlContext. With it no proxy is used, and errors do not tell an address
	// that it refused from one where nobody answers. Nil lets every address pass.
	Guard Guard
}

// settle returns c with the defaults filled in, and every fault of it by the
// name of its variable.
func (c Config) settle() (Config, error) {
	c.KeyTemplate = cmp.Or(c.KeyTemplate, DefaultKeyTemplate)
	c.PresignExpiry = cmp.Or(c.PresignExpiry, maxExpiry)
	if c.Retried == nil {
		c.Retried = func() {}
	}
	c.Attempts = cmp.Or(c.Attempts, defaultAttempts)
	c.Deadline = cmp.Or(c.Deadline, defaultDeadline)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, defaultIdle)
	c.WholeSize = cmp.Or(c.WholeSize, defaultWholeSize)
	c.PartSize = cmp.Or(c.PartSize, defaultPartSize)
	c.Concurrency = cmp.Or(c.Concurrency, defaultConcurrency)
	if c.Transport == nil {
		transport := newTransport(c.IdleTimeout, dialer(c.Guard))
		if c.Guard != nil {
			transport.Proxy = nil // it would resolve names by itself
		}
		c.Transport = transport
	}
	public, err := publicURL(c.PublicURL)
	c.PublicURL = public
	return c, errors.Join(
		checkKey("BUCKET_ACCESS_KEY_ID", c.AccessKeyID),
		checkKey("BUCKET_SECRET_ACCESS_KEY", c.SecretAccessKey),
		checkExpiry(c.PresignExpiry),
		err,
	)
}

func checkKey(variable, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is not set: with BUCKET_ENDPOINT_URL it must be", variable)
	case strings.ContainsFunc(value, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }):
		return fmt.Errorf("%s has a blank or a line break in it: copy the key again", variable)
	}
	return nil
}

func checkExpiry(d time.Duration) error {
	if d < time.Second || d > maxExpiry {
		return fmt.Errorf("BUCKET_PRESIGN_EXPIRY is %s: S3 signs links for 1 second to 7 days (168h)", d)
	}
	return nil
}

// publicURL returns what stands before the slash and the key.
func publicURL(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("BUCKET_PUBLIC_URL is not a plain web address: write it like https://cdn.example.com/outputs")
	}
	return strings.TrimRight(raw, "/"), nil
}
