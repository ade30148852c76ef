package localapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

var inputSeeds = []string{
	`{"workflow":{},"s3Config":{"accessSecret":"x"}}`, `"{\"a\":1,\"s3Config\":{}}"`, `{"s3Con\u0066ig":1,"S3CONFIG":2}`, `{"s3Config":null}`,
	`{"images":[{"name":"a","image":"aGk="}],"files":[{"DATA":"aGk="}]}`, `{"images":{"image":"aGk="}}`, `{"images":[1]}`, `[]`, `null`, ``, `"`,
	`{"api_key_comfy_org":"k","Comfy_Org_API_Key":"k"}`, "{\"s3Config\xff\":1}", `{"a":1}{"b":2}`,
}

// An input that is kept of a job has no s3Config.
func FuzzTakeBucket(f *testing.F) {
	for _, seed := range inputSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		rest, bucket := takeBucket(input)
		if bucket == nil && string(rest) != string(input) {
			t.Errorf("%q without a bucket became %q", input, rest)
		}
		var text string
		if json.Unmarshal(rest, &text) == nil {
			rest = json.RawMessage(text)
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(rest, &fields) == nil && fields["s3Config"] != nil {
			t.Errorf("%q became %q", input, rest)
		}
		if kept := withoutKeys(string(bucket)); kept != "" && kept != `{"endpointUrl":"not kept"}` {
			t.Errorf("of %q there is kept %q", bucket, kept)
		}
	})
}

// An input that people are shown has neither keys nor the bytes of files.
func FuzzShown(f *testing.F) {
	for _, seed := range inputSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		out := shown(input)
		if out == nil {
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(out, &fields); err != nil {
			t.Fatalf("%q became %q: %v", input, out, err)
		}
		for name := range fields {
			if slices.ContainsFunc(secretFields, func(s string) bool { return strings.EqualFold(s, name) }) {
				t.Errorf("%q is shown as %q", input, out)
			}
		}
		for list, key := range carriers {
			var items []map[string]json.RawMessage
			if len(fields[list]) > 0 && json.Unmarshal(fields[list], &items) != nil {
				t.Errorf("%q is shown as %q", input, out)
			}
			for _, it := range items {
				if it[key] != nil {
					t.Errorf("%q is shown as %q", input, out)
				}
			}
		}
	})
}
