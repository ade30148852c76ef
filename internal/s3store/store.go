package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// checkTimeout bounds Check, which a start-up waits for.
const checkTimeout = 3 * time.Second

// opHeadBucket is named because a refusal of it means less than of others.
const opHeadBucket = "HeadBucket"

// A Store keeps files in one bucket. Its methods may be called from any
// goroutine.
type Store struct {
	cfg    Config
	log    *zap.Logger
	keys   keyTemplate
	client *s3.Client

	// at is where the bucket is, as far as is known: an answer may tell that
	// it is in another region than the configuration says.
	at atomic.Pointer[endpoint]
	// skew is how far, in nanoseconds, the store's clock is ahead of ours.
	skew atomic.Int64
	// ownTags is set when the store was seen to answer ETags that are no MD5.
	ownTags atomic.Bool
}

// New returns a store. It sends nothing. Its error names every variable that
// is at fault and the form that is expected, and no secret.
func New(cfg Config, log *zap.Logger) (*Store, error) {
	cfg, faults := cfg.settle()
	at, err := parseEndpoint(cfg.EndpointURL, cfg.BucketName, cfg.Region, cfg.PathStyle)
	faults = errors.Join(faults, err)
	keys, err := parseTemplate(cfg.KeyTemplate)
	if faults = errors.Join(faults, err); faults != nil {
		return nil, errors.New(inWordsOf(cfg.Field, faults.Error()))
	}
	s := &Store{cfg: cfg, log: log, keys: keys}
	s.at.Store(&at)
	s.client = newClient(cfg, resolver{&s.at})
	return s, nil
}

// Put stores the content of f, the index-th file of a job, and returns f with
// its URL. It returns when the object is known to be whole, when waiting longer
// is no use (an [*Error]), or when ctx ends (its cause).
func (s *Store) Put(ctx context.Context, jobID string, index int, f job.File) (job.File, error) {
	o := object{
		key:     s.keys.key(time.Now(), jobID, index, f),
		kind:    kindOf(f),
		content: f.Content,
	}
	send := s.putWhole
	if f.Content.Size > s.cfg.WholeSize {
		send = s.putParts
	}
	if err := send(ctx, o); err != nil {
		return f, err
	}
	var err error
	f.URL, err = s.url(ctx, o.key)
	return f, err
}

// Check asks whether the bucket is there and lets these keys in, for 3 s at
// most. An error is no proof that uploads will fail: keys that may write need
// not be allowed to look.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("no answer within %s", checkTimeout))
	defer cancel()
	return s.try(ctx, opHeadBucket, "", func() error {
		_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: s.bucket()})
		return err
	})
}

// Close ends the connections that are idle.
func (s *Store) Close() {
	if idle, ok := s.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		idle.CloseIdleConnections()
	}
}

// url is where the object can be fetched: signed, unless the store has no
// signed links or the bucket is public.
func (s *Store) url(ctx context.Context, key string) (string, error) {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL + "/" + escapeKey(key), nil
	}
	at := *s.at.Load()
	if !at.links {
		return at.objectURL(key), nil
	}
	query := url.Values{"X-Amz-Expires": {strconv.Itoa(int(s.cfg.PresignExpiry.Seconds()))}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.objectURL(key)+"?"+query.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("sign the link to %s: %w", key, err)
	}
	keys := aws.Credentials{AccessKeyID: s.cfg.AccessKeyID, SecretAccessKey: s.cfg.SecretAccessKey}
	now := time.Now().Add(time.Duration(s.skew.Load()))
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys, req, "UNSIGNED-PAYLOAD", "s3", at.region, now,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return "", fmt.Errorf("sign the link to %s: %w", key, err)
	}
	return signed, nil
}

// noteClock learns from an answer how far the store's clock is from ours.
func (s *Store) noteClock(answer middleware.Metadata) {
	if skew, ok := awsmiddleware.GetAttemptSkew(answer); ok {
		s.skew.Store(int64(skew))
	}
}

func (s *Store) bucket() *string { return aws.String(s.at.Load().bucket) }
