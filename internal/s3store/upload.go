package s3store

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// An object is a file on its way into the bucket.
type object struct {
	key     string
	kind    kind
	content job.Content
}

// putWhole sends the object in one request.
func (s *Store) putWhole(ctx context.Context, o object) error {
	body := &section{content: o.content, size: o.content.Size}
	defer body.Close()
	sum, err := body.digest()
	if err != nil {
		return s.fault("PutObject", o.key, 0, err)
	}
	return s.try(ctx, "PutObject", o.key, func() error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return &sourceError{err}
		}
		out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket:             s.bucket(),
			Key:                &o.key,
			Body:               body,
			ContentLength:      &body.size,
			ContentType:        &o.kind.mime,
			ContentDisposition: o.kind.disposition(),
		}, signedAs(sum))
		if err != nil {
			return err
		}
		s.noteClock(out.ResultMetadata)
		return s.compare(ctx, o, out, sum)
	})
}

// A mismatchError says that the store holds something else than was sent.
type mismatchError struct{ got, want string }

func (e *mismatchError) Error() string {
	return fmt.Sprintf("the store holds %s where %s was sent", e.got, e.want)
}

// compare holds the answer's ETag against what was sent. Where they differ, the
// object itself decides: some stores make ETags of their own.
func (s *Store) compare(ctx context.Context, o object, answer *s3.PutObjectOutput, sum digests) error {
	tag := strings.Trim(aws.ToString(answer.ETag), `"`)
	encrypted := answer.SSECustomerAlgorithm != nil ||
		answer.ServerSideEncryption != "" && answer.ServerSideEncryption != types.ServerSideEncryptionAes256
	if tag == sum.md5 || encrypted || s.ownTags.Load() || !looksLikeMD5(tag) {
		return nil
	}
	stored, err := s.readBack(ctx, o)
	if err != nil || stored != sum.md5 {
		return &mismatchError{"an object with MD5 " + tag, sum.md5}
	}
	s.ownTags.Store(true)
	s.log.Info("the store's ETags are no MD5, they are not compared any more", zap.String("key", o.key))
	return nil
}

func looksLikeMD5(tag string) bool {
	sum, err := hex.DecodeString(tag)
	return err == nil && len(sum) == md5.Size
}

// readBack returns the MD5 of the stored object.
func (s *Store) readBack(ctx context.Context, o object) (string, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket(), Key: &o.key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	sum := md5.New()
	_, err = io.Copy(sum, io.LimitReader(out.Body, o.content.Size+1)) // one that is longer is another
	return hex.EncodeToString(sum.Sum(nil)), err
}
