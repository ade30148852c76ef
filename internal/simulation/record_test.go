package simulation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// A record is a result as the queue accepted it.
type record struct {
	outcome  string // completed, or the cause
	message  string
	attempts int // told by failures only
	files    []file
	tags     []string // all that occur anywhere in it, each once
}

func (x record) String() string {
	return fmt.Sprintf("%s %q, attempts %d, files %v", x.outcome, x.message, x.attempts, x.files)
}

// A file is one file of a result.
type file struct{ name, sha256 string }

var tags = regexp.MustCompile(`tag-[0-9]{3}`)

// accept is given each result that the queue takes.
func (r *run) accept(id string, body []byte) error {
	x, err := r.readRecord(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records[id] = x
	return err
}

func (r *run) readRecord(body []byte) (record, error) {
	type listed struct{ Filename, Kind, Type, Data string }
	var result struct {
		Error  string
		Output struct {
			Cause    string
			Attempts int
			Images   []listed
			Files    []listed
		}
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return record{}, fmt.Errorf("read result: %w", err)
	}
	out := result.Output
	x := record{outcome: completed, message: result.Error, attempts: out.Attempts}
	if result.Error != "" {
		x.outcome = out.Cause
	}
	for _, tag := range tags.FindAll(body, -1) {
		if !slices.Contains(x.tags, string(tag)) {
			x.tags = append(x.tags, string(tag))
		}
	}
	images := out.Images
	for _, f := range out.Files {
		if f.Kind == "images" { // their data stands in the documented list
			if len(images) == 0 {
				return x, fmt.Errorf("%s is not among the images", f.Filename)
			}
			f, images = images[0], images[1:]
		}
		sum, err := r.sum(f.Type, f.Data)
		if err != nil {
			return x, fmt.Errorf("read %s: %w", f.Filename, err)
		}
		x.files = append(x.files, file{f.Filename, sum})
	}
	return x, nil
}

// sum is the SHA-256 of what is in a result, or of what its URL leads to.
func (r *run) sum(kind, data string) (string, error) {
	if kind == "s3_url" {
		return r.store.object(data), nil
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), err
}
