package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// input is a job's input after validation.
type input struct {
	workflow workflow
	images   []image
	apiKey   string // for ComfyUI's API nodes, "" if the job brings none
}

// The limits of an input. The whole of it is limited by its source.
const (
	maxImages     = 64
	maxImageBytes = 50 << 20
	maxNameBytes  = 255
)

// parseInput validates a job's input. It reports every fault at once, as one
// Failure, before anything has been done for the job.
func parseInput(raw json.RawMessage) (input, *job.Failure) {
	fields, err := inputFields(raw)
	if err != nil {
		return input{}, badInput(err.Error())
	}
	var in input
	var faults []string
	fault := func(err error) {
		if err != nil {
			faults = append(faults, err.Error())
		}
	}
	in.workflow, err = parseWorkflow(fields["workflow"])
	fault(err)
	in.images, err = parseImages(fields["images"])
	fault(err)
	in.apiKey, err = parseAPIKey(fields)
	fault(err)
	if len(faults) > 0 {
		return input{}, badInput(strings.Join(faults, "; "))
	}
	return in, nil
}

// inputFields returns the fields of an input that is an object, or a string
// that holds one.
func inputFields(raw json.RawMessage) (map[string]json.RawMessage, error) {
	const want = `send {"input": {"workflow": {...}}}`
	raw = bytes.TrimSpace(raw)
	if isNull(raw) {
		return nil, fmt.Errorf("the job has no input: %s", want)
	}
	if raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("the input is no JSON: %v", err)
		}
		raw = bytes.TrimSpace([]byte(text))
	}
	if err := checkShape(raw); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("the input is not a JSON object (%s): %s", jsonFault(err), want)
	}
	if fields == nil {
		return nil, fmt.Errorf("the input is null: %s", want)
	}
	return fields, nil
}

// parseAPIKey takes the documented name and the one that clients send.
func parseAPIKey(fields map[string]json.RawMessage) (string, error) {
	for _, name := range []string{"api_key_comfy_org", "comfy_org_api_key"} {
		raw, ok := fields[name]
		if !ok || isNull(raw) {
			continue
		}
		var key string
		if err := json.Unmarshal(raw, &key); err != nil {
			return "", fmt.Errorf("input.%s is not a string", name)
		}
		if key != "" {
			return key, nil
		}
	}
	return "", nil
}

// parseImages validates the images that are to be uploaded.
func parseImages(raw json.RawMessage) ([]image, error) {
	if isNull(raw) {
		return nil, nil
	}
	var items []struct {
		Name  *string `json:"name"`
		Image *string `json:"image"`
	}
	const want = `want a list of {"name": "a.png", "image": "<base64>"}`
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("input.images is of another shape (%s): %s", jsonFault(err), want)
	}
	if len(items) > maxImages {
		return nil, fmt.Errorf("input.images has %d images: at most %d are taken", len(items), maxImages)
	}
	images := make([]image, 0, len(items))
	seen := make(map[string]int)
	for i, item := range items {
		where := fmt.Sprintf("input.images[%d]", i)
		if item.Name == nil || item.Image == nil {
			return nil, fmt.Errorf("%s lacks name or image: %s", where, want)
		}
		if err := checkName(*item.Name); err != nil {
			return nil, fmt.Errorf("%s.name: %w", where, err)
		}
		if first, again := seen[*item.Name]; again {
			return nil, fmt.Errorf("%s.name %q is already the name of input.images[%d]: give each image a name of its own", where, *item.Name, first)
		}
		seen[*item.Name] = i
		img, err := decodeImage(*item.Name, *item.Image)
		if err != nil {
			return nil, fmt.Errorf("%s.image: %w", where, err)
		}
		images = append(images, img)
	}
	return images, nil
}

// checkName accepts plain file names only. ComfyUI takes a name that ends in
// "[output]", "[input]" or "[temp]" for one in another directory, and resolves
// "../" and absolute paths.
func checkName(name string) error {
	const want = `want a plain file name such as "a.png"`
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no file name: %s", name, want)
	case len(name) > maxNameBytes-namePrefixBytes:
		return fmt.Errorf("%q... has %d bytes: at most %d are taken", name[:20], len(name), maxNameBytes-namePrefixBytes)
	case strings.ContainsAny(name, "/\\\x00") || strings.ContainsFunc(name, isControl):
		return fmt.Errorf("%q has a slash, a backslash or a control character: %s", name, want)
	case strings.Contains(name, ".."):
		return fmt.Errorf("%q has two dots in a row, which ComfyUI refuses: %s", name, want)
	case strings.HasPrefix(name, "-") || strings.HasPrefix(name, "."):
		return fmt.Errorf("%q begins with %q: %s", name, name[:1], want)
	case strings.TrimRight(name, ". ") != name || strings.TrimSpace(name) != name:
		return fmt.Errorf("%q begins or ends with a space or a dot: %s", name, want)
	case strings.HasSuffix(name, "]"):
		return fmt.Errorf("%q ends in ']', which ComfyUI takes for the name of a directory: %s", name, want)
	case strings.Contains(name, "%"):
		return fmt.Errorf("%q has a '%%', which may be an escaped character: %s", name, want)
	case path.Base(name) != name:
		return fmt.Errorf("%q is a path: %s", name, want)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func isNull(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}
