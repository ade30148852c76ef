package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// A soakRecord is a result as the queue accepted it.
type soakRecord struct {
	outcome  string // completed, or the cause
	message  string
	attempts int // told by failures only
	files    []soakFile
	tags     []string // all that occur anywhere in it, each once
}

// A soakFile is one file of a result.
type soakFile struct {
	name, sha256 string
	// colour is that of a picture's every pixel, the zero colour otherwise.
	colour color.RGBA
}

var soakTag = regexp.MustCompile(`tag-[0-9]{6}`)

// readSoakRecord reads the body of a result, whose files may be in a bucket.
func readSoakRecord(body []byte, bucket *s3test.Gateway) (soakRecord, error) {
	type file struct{ Filename, Kind, Data string }
	var result struct {
		Error  string
		Output struct {
			Cause    string
			Attempts int
			Images   []file
			Files    []file
		}
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return soakRecord{}, fmt.Errorf("read result: %w", err)
	}
	out := result.Output
	r := soakRecord{outcome: soakCompleted, message: result.Error, attempts: out.Attempts}
	if result.Error != "" {
		r.outcome = out.Cause
	}
	for _, tag := range soakTag.FindAll(body, -1) {
		if !slices.Contains(r.tags, string(tag)) {
			r.tags = append(r.tags, string(tag))
		}
	}
	images := out.Images
	for _, f := range out.Files {
		if f.Kind == "images" { // their data stands in the documented list
			if len(images) == 0 {
				return r, fmt.Errorf("%s is not among the images", f.Filename)
			}
			f.Data, images = images[0].Data, images[1:]
		}
		raw, err := base64.StdEncoding.DecodeString(f.Data)
		if bucket != nil {
			raw, err = readSoakObject(bucket, f.Data)
		}
		if err != nil {
			return r, fmt.Errorf("read %s: %w", f.Filename, err)
		}
		read := newSoakFile(f.Filename, raw)
		r.files = append(r.files, read)
	}
	if len(images) > 0 {
		return r, fmt.Errorf("%d images are not among the files", len(images))
	}
	return r, nil
}

// readSoakObject reads what a link leads to. It has to be there by the time that
// the link is told.
func readSoakObject(bucket *s3test.Gateway, link string) ([]byte, error) {
	at, err := url.Parse(link)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(bucket.Path(strings.TrimPrefix(at.Path, "/"+bucket.Bucket+"/")))
}

func newSoakFile(name string, raw []byte) soakFile {
	sum := sha256.Sum256(raw)
	f := soakFile{name: name, sha256: hex.EncodeToString(sum[:])}
	if img, _, err := image.Decode(bytes.NewReader(raw)); err == nil {
		f.colour = onlyColour(img)
	}
	return f
}

// onlyColour returns the colour of all pixels, the zero colour if they differ.
func onlyColour(img image.Image) color.RGBA {
	b := img.Bounds()
	colour := color.RGBAModel.Convert(img.At(b.Min.X, b.Min.Y)).(color.RGBA)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if color.RGBAModel.Convert(img.At(x, y)) != colour {
				return color.RGBA{}
			}
		}
	}
	return colour
}
