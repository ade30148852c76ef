package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// input is a job's input after validation.
type input struct {
	workflow workflow
	files    []inputFile
	apiKey   string  // for ComfyUI's API nodes, "" if the job brings none
	bucket   *Bucket // that the files are stored in, nil if the job brings none
	wanted   wanted
}

// parseInput validates a job's input. It reports every fault at once, as one
// Failure, before anything has been done for the job. URLs are judged by urls,
// nil for a worker that takes none.
func parseInput(raw json.RawMessage, urls *fetch.Client) (input, *job.Failure) {
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
	files, errs := parseFiles(fields, urls)
	for _, err := range errs {
		fault(err)
	}
	in.files = files
	in.wanted, errs = parseWanted(fields["output"])
	for _, err := range errs {
		fault(err)
	}
	in.apiKey, err = parseAPIKey(fields)
	fault(err)
	in.bucket, err = parseBucket("input.s3Config", fields["s3Config"])
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

func isNull(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}
