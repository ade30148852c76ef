package localapi

import (
	"bytes"
	"encoding/json"
)

// maxBucket is more than any s3Config needs; it is kept beside what is counted
// as input.
const maxBucket = 16 << 10

// takeBucket returns an input without its s3Config, and that. Keys of a stranger
// have no place in what is kept of a job, so they travel beside the input. An
// input that is something else than an object, or a text that holds one, is
// returned as it is: what is wrong with it is for the worker to say.
func takeBucket(input json.RawMessage) (rest, bucket json.RawMessage) {
	const name = "s3Config"
	if !bytes.Contains(input, []byte(name)) && !bytes.Contains(input, []byte(`\u`)) { // large inputs are not parsed for nothing
		return input, nil
	}
	object := input
	var text string
	if json.Unmarshal(input, &text) == nil {
		object = json.RawMessage(text)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil || fields[name] == nil {
		return input, nil
	}
	bucket = fields[name]
	delete(fields, name)
	rest, err := json.Marshal(fields)
	if err != nil {
		return input, nil
	}
	return rest, bucket
}

// firstBucket returns the bucket beside the input if there is one, else the one
// inside.
func firstBucket(beside, inside json.RawMessage) string {
	if len(beside) == 0 || string(beside) == "null" {
		return string(inside)
	}
	return string(beside)
}

// withoutKeys is what of a bucket may be kept on disk: that there was one. The job
// cannot be run with it, which the worker says; to run it without would put its
// files where its sender does not look for them.
func withoutKeys(bucket string) string {
	var b struct{ EndpointURL, AccessID, AccessSecret, BucketName string }
	if err := json.Unmarshal([]byte(bucket), &b); bucket == "" || err == nil && b.EndpointURL+b.AccessID+b.AccessSecret+b.BucketName == "" {
		return ""
	}
	return `{"endpointUrl":"not kept"}`
}
