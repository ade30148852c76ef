package localapi

import (
	"encoding/json"
	"strings"
)

// secretFields are those of an input that nobody is shown.
var secretFields = []string{"api_key_comfy_org", "comfy_org_api_key", "s3Config"}

// carriers are the lists of files in an input, and what their bytes are called
// there.
var carriers = map[string]string{"images": "image", "files": "data"}

// shown returns a job's input as people may see it: without the keys in it, and
// without the bytes of its files, of which omitted_bytes is left. An input that
// is text holding JSON, as some clients send it, becomes that JSON. One that is
// no object has nothing to be seen, which is nil.
func shown(input json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(input, &text) == nil {
		input = json.RawMessage(text)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(input, &fields) != nil || fields == nil {
		return nil
	}
	for name := range fields {
		for _, hidden := range secretFields {
			if strings.EqualFold(name, hidden) {
				delete(fields, name)
			}
		}
	}
	for list, key := range carriers {
		if items, ok := withoutBytes(fields[list], key); ok {
			fields[list] = items
		}
	}
	out, err := json.Marshal(fields)
	if err != nil { // what was read can be written
		return nil
	}
	return out
}

// withoutBytes returns a list of files whose bytes are not there. It is false
// when raw is no such list.
func withoutBytes(raw json.RawMessage, key string) (json.RawMessage, bool) {
	if len(raw) == 0 {
		return nil, false
	}
	var items []map[string]json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return json.RawMessage("null"), true // of another shape, and maybe large
	}
	for _, it := range items {
		for name, value := range it {
			if !strings.EqualFold(name, key) {
				continue
			}
			delete(it, name)
			size, _ := json.Marshal(max(0, len(value)-len(`""`))) // a number can be written
			it["omitted_bytes"] = size
		}
	}
	out, err := json.Marshal(items)
	return out, err == nil
}
