package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A Trial is what became of an object that was stored to see whether it can be.
// No error holds a key or a signature.
type Trial struct {
	Key     string
	Stored  error // why it was not, nil if it was
	Read    error // why the link that a result would have does not lead to it
	Removed error // why it is still there
}

// trialText is what a trial stores.
var trialText = []byte("Stored by comfyvisor to see whether this bucket takes files. It can be removed.\n")

// Try stores an object as the job of that id would, reads it by the link that the
// result would have, and removes it.
func (s *Store) Try(ctx context.Context, jobID string) Trial {
	file := job.File{Filename: "trial.txt", MIME: "text/plain", Content: job.Content{
		Size: int64(len(trialText)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(trialText)), nil },
	}}
	t := Trial{Key: s.keys.key(time.Now(), jobID, 0, file)}
	stored, err := s.Put(ctx, jobID, 0, file)
	if err != nil {
		t.Stored = err
		return t
	}
	t.Read = s.follow(ctx, stored.URL, t.Key)
	t.Removed = s.try(ctx, "DeleteObject", t.Key, func() error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: s.bucket(), Key: &t.Key})
		return err
	})
	return t
}

// follow reads what is behind a link, as whoever gets the result would. Where
// links are not for reading the object is read with our keys.
func (s *Store) follow(ctx context.Context, link, key string) error {
	if s.cfg.PublicURL == "" && !s.at.Load().links {
		return s.try(ctx, "GetObject", key, func() error {
			out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket(), Key: &key})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			return same(out.Body)
		})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return fmt.Errorf("follow the link to %s: %w", key, err)
	}
	shown := (&url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Path: req.URL.Path}).String()
	answer, err := bounded(s.cfg.Transport)(req)
	if err != nil {
		return fmt.Errorf("GET %s: %w", shown, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s, with its signature if it has one: %s", shown, answer.Status)
	}
	if err := same(answer.Body); err != nil {
		return fmt.Errorf("GET %s: %w", shown, err)
	}
	return nil
}

// same tells whether r has what a trial stores.
func same(r io.Reader) error {
	got, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err == nil && !bytes.Equal(got, trialText) {
		err = errors.New("it leads to something else than what was stored")
	}
	return err
}
