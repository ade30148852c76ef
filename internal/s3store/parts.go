package s3store

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

const (
	// abortTimeout bounds the removal of parts, which happens during shutdown
	// as well.
	abortTimeout = 3 * time.Second
	// beginGrace is how long the start of an upload may go on when its job has
	// ended: without the answer nobody knows what there is to remove.
	beginGrace = 2 * time.Second
)

// putParts sends the object in several requests. If it returns an error, it has
// tried to remove what was sent.
func (s *Store) putParts(ctx context.Context, o object) (err error) {
	upload, err := s.begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.abort(ctx, o, upload)
		}
	}()
	parts, err := s.sendParts(ctx, o, upload)
	if err != nil {
		return err
	}
	return s.complete(ctx, o, upload, parts)
}

// begin returns the store's name for the upload.
func (s *Store) begin(ctx context.Context, o object) (upload *string, err error) {
	ctx, cancel := outlive(ctx, beginGrace)
	defer cancel()
	err = s.try(ctx, "CreateMultipartUpload", o.key, func() error {
		out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket:             s.bucket(),
			Key:                &o.key,
			ContentType:        &o.kind.mime,
			ContentDisposition: o.kind.disposition(),
		})
		if err != nil {
			return err
		}
		s.noteClock(out.ResultMetadata)
		upload = out.UploadId
		return nil
	})
	return upload, err
}

// outlive returns a context that ends, with the same cause, a while after ctx.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel(nil) }
}

// sendParts sends all parts, several at once, and returns them in order.
func (s *Store) sendParts(ctx context.Context, o object, upload *string) ([]types.CompletedPart, error) {
	size := max(s.cfg.PartSize, (o.content.Size+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (o.content.Size+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Concurrency)
	for i := range parts {
		start := int64(i) * size
		group.Go(func() (err error) {
			body := &section{content: o.content, start: start, size: min(size, o.content.Size-start)}
			parts[i], err = s.sendPart(ctx, o, upload, int32(i+1), body)
			return err
		})
	}
	return parts, group.Wait()
}

func (s *Store) sendPart(ctx context.Context, o object, upload *string, number int32, body *section) (types.CompletedPart, error) {
	defer body.Close()
	part := types.CompletedPart{PartNumber: &number}
	if err := ctx.Err(); err != nil {
		return part, context.Cause(ctx)
	}
	op := fmt.Sprintf("UploadPart %d", number)
	sum, err := body.digest()
	if err != nil {
		return part, s.fault(op, o.key, 0, err)
	}
	err = s.try(ctx, op, o.key, func() error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return &sourceError{err}
		}
		out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket:        s.bucket(),
			Key:           &o.key,
			UploadId:      upload,
			PartNumber:    &number,
			Body:          body,
			ContentLength: &body.size,
		}, signedAs(sum))
		if err != nil {
			return err
		}
		part.ETag = out.ETag
		return nil
	})
	return part, err
}

// complete makes the parts one object and checks that it is all there.
func (s *Store) complete(ctx context.Context, o object, upload *string, parts []types.CompletedPart) error {
	const op = "CompleteMultipartUpload"
	asked := false
	var over error
	err := s.try(ctx, op, o.key, func() error {
		_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket:          s.bucket(),
			Key:             &o.key,
			UploadId:        upload,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		// If only the answer to the last request was lost, the upload is over,
		// and this request is told that there is no such upload.
		if asked && codeOf(err) == "NoSuchUpload" {
			over = err
			return nil
		}
		asked = true
		return err
	})
	if err != nil {
		return err
	}
	if err := s.measure(ctx, o, over); err != nil {
		return s.fault(op, o.key, 1, err)
	}
	return nil
}

// measure compares the size of the stored object with the file's. It returns
// otherwise, which may be nil, if the store does not tell the size.
func (s *Store) measure(ctx context.Context, o object, otherwise error) error {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: s.bucket(), Key: &o.key})
	if err != nil || out.ContentLength == nil {
		return otherwise
	}
	if *out.ContentLength != o.content.Size {
		return &mismatchError{fmt.Sprintf("%d bytes", *out.ContentLength), fmt.Sprintf("%d", o.content.Size)}
	}
	return nil
}

// abort removes the parts of an upload that did not end well. It is the one
// request that goes out after the job has ended.
func (s *Store) abort(ctx context.Context, o object, upload *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	err := s.try(ctx, "AbortMultipartUpload", o.key, func() error {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: s.bucket(), Key: &o.key, UploadId: upload,
		})
		if codeOf(err) == "NoSuchUpload" {
			return nil
		}
		return err
	})
	if err != nil {
		s.log.Warn("parts of an upload are left in the bucket, a lifecycle rule can remove them",
			zap.String("key", o.key), zap.String("upload", aws.ToString(upload)), zap.Error(err))
	}
}
