package comfy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"time"
)

// An Upload is a file for ComfyUI's input directory.
type Upload struct {
	// Name is the file's name, without directories; Subfolder is relative to
	// ComfyUI's input directory.
	Name, Subfolder string
	// Content opens the file at its start. It is called again for a retry.
	Content func() (io.ReadCloser, error)
	// Size is the exact number of bytes.
	Size int64
}

// uploadTimeout bounds one attempt at an upload.
const uploadTimeout = 5 * time.Minute

// Upload stores a file in ComfyUI's input directory and returns the reference
// by which LoadImage and its like find it. That is not always the name asked
// for: ComfyUI renames a file when another one has its name. Whatever may pass
// is tried twice.
func (c *Client) Upload(ctx context.Context, u Upload) (ref string, err error) {
	ref, err = c.upload(ctx, u)
	if err == nil || ctx.Err() != nil {
		return ref, err
	}
	var refused *HTTPError
	if errors.As(err, &refused) && refused.Status < http.StatusInternalServerError {
		return "", err
	}
	c.reconnect()
	return c.upload(ctx, u)
}

func (c *Client) upload(ctx context.Context, u Upload) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	head, tail, contentType, err := envelope(u)
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", u.Name, err)
	}
	file, err := u.Content()
	if err != nil {
		return "", fmt.Errorf("upload %s: open: %w", u.Name, err)
	}
	defer file.Close()
	body := io.MultiReader(bytes.NewReader(head), file, bytes.NewReader(tail))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url("/upload/image"), io.NopCloser(body))
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", u.Name, err)
	}
	req.ContentLength = int64(len(head)) + u.Size + int64(len(tail))
	req.Header.Set("Content-Type", contentType)

	a, err := c.roundTrip(req, request{method: req.Method, path: "/upload/image", limit: smallAnswer})
	if err != nil {
		return "", fmt.Errorf("upload %s: %w", u.Name, err)
	}
	var stored struct {
		Name      string `json:"name"`
		Subfolder string `json:"subfolder"`
	}
	if err := a.decode(&stored); err != nil {
		return "", fmt.Errorf("upload %s: %w", u.Name, err)
	}
	if stored.Name == "" {
		return "", fmt.Errorf("upload %s: the answer does not name the file", u.Name)
	}
	return path.Join(stored.Subfolder, stored.Name), nil
}

// envelope returns what stands before and after the bytes of the file.
func envelope(u Upload) (head, tail []byte, contentType string, err error) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, field := range [][2]string{{"type", "input"}, {"subfolder", u.Subfolder}} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return nil, nil, "", err
		}
	}
	if _, err := form.CreateFormFile("image", u.Name); err != nil {
		return nil, nil, "", err
	}
	n := b.Len()
	if err := form.Close(); err != nil {
		return nil, nil, "", err
	}
	return b.Bytes()[:n], b.Bytes()[n:], form.FormDataContentType(), nil
}
