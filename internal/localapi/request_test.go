package localapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestDecodeRequest(t *testing.T) {
	tests := []struct {
		name, body string
		want       request
		err        string // part of it
	}{
		{name: "object", body: `{"input":{"a": 1}}`, want: request{input: json.RawMessage(`{"a": 1}`), policy: policy{ttl: defaultTTL}}},
		{name: "text", body: `{"input":"{}"}`, want: request{input: json.RawMessage(`"{}"`), policy: policy{ttl: defaultTTL}}},
		{name: "policy", body: `{"input":{},"policy":{"executionTimeout":5000,"ttl":10000}}`,
			want: request{input: json.RawMessage(`{}`), policy: policy{execution: 5 * time.Second, ttl: 10 * time.Second}}},
		{name: "all that RunPod knows", body: `{"id":"mine","input":{},"webhook":"https://x.test","s3Config":{"accessId":"x"}}`,
			want: request{input: json.RawMessage(`{}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"x"}`}, webhook: "https://x.test"}},
		{name: "bucket inside the input", body: `{"input":{"a":1,"s3Config":{"accessId":"x"}}}`,
			want: request{input: json.RawMessage(`{"a":1}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"x"}`}}},
		{name: "bucket inside an input that is text", body: `{"input":"{\"a\":1,\"s3Config\":{\"accessId\":\"x\"}}"}`,
			want: request{input: json.RawMessage(`{"a":1}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"x"}`}}},
		{name: "bucket with an escape in its name", body: `{"input":{"s3Con\u0066ig":{"accessId":"x"}}}`,
			want: request{input: json.RawMessage(`{}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"x"}`}}},
		{name: "two buckets", body: `{"input":{"s3Config":{"accessId":"inside"}},"s3Config":{"accessId":"beside"}}`,
			want: request{input: json.RawMessage(`{}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"beside"}`}}},
		{name: "no bucket beside", body: `{"input":{"s3Config":{"accessId":"inside"}},"s3Config":null}`,
			want: request{input: json.RawMessage(`{}`), policy: policy{ttl: defaultTTL, bucket: `{"accessId":"inside"}`}}},
		{name: "an input that only speaks of one", body: `{"input":{"text":"s3Config"}}`,
			want: request{input: json.RawMessage(`{"text":"s3Config"}`), policy: policy{ttl: defaultTTL}}},
		{name: "empty", body: " \n", err: "the body is empty"},
		{name: "no input", body: `{}`, err: "input is missing"},
		{name: "large bucket", body: `{"input":{},"s3Config":"` + strings.Repeat("x", maxBucket) + `"}`, err: "s3Config has 16386 bytes: at most 16384"},
		{name: "null input", body: `{"input":null}`, err: "input is missing"},
		{name: "null", body: `null`, err: "input is missing"},
		{name: "array", body: `[]`, err: "JSON type array: send an object"},
		{name: "not JSON", body: `input=1`, err: "not JSON: invalid character 'i' looking for beginning of value at byte 1"},
		{name: "cut", body: `{"input":{`, err: "not JSON: unexpected end"},
		{name: "two documents", body: `{"input":{}}{}`, err: "not JSON: invalid character '{' after"},
		{name: "too deep", body: `{"input":` + strings.Repeat("[", 10_001), err: "exceeded max depth"},
		{name: "policy is text", body: `{"input":{},"policy":"fast"}`, err: "policy is of JSON type string"},
		{name: "ttl is text", body: `{"input":{},"policy":{"ttl":"1h"}}`, err: "policy.ttl is of JSON type string"},
		{name: "negative timeout", body: `{"input":{},"policy":{"executionTimeout":-1}}`, err: "policy.executionTimeout is -1: it is 1 to 604800000 ms"},
		{name: "ttl over a week", body: `{"input":{},"policy":{"ttl":604800001}}`, err: "policy.ttl is 604800001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeRequest([]byte(tt.body))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || statusOf(err) != 400 {
					t.Errorf("error = %v, want 400 with %q", err, tt.err)
				}
				return
			}
			if err != nil || string(got.input) != string(tt.want.input) || got.policy != tt.want.policy || got.webhook != tt.want.webhook {
				t.Errorf("got %s %+v, %v, want %s %+v", got.input, got.policy, err, tt.want.input, tt.want.policy)
			}
		})
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `{"input":{}}`, `{"INPUT":{"a":1}}`, `{"input":"x","policy":{"ttl":1e3}}`,
		`{"input":{},"policy":{"executionTimeout":9223372036854775807,"ttl":-1}}`, `{"input":{},"input":null}`, "\xff{",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeRequest(body)
		switch {
		case err != nil && statusOf(err) != 400:
			t.Errorf("error of status %d: %v", statusOf(err), err)
		case err == nil && (!json.Valid(got.input) || string(got.input) == "null"):
			t.Errorf("input is no JSON value: %q", got.input)
		case err == nil && (got.policy.ttl <= 0 || got.policy.ttl > maxPolicy || got.policy.execution < 0 || got.policy.execution > maxPolicy):
			t.Errorf("policy out of bounds: %+v", got.policy)
		}
	})
}
