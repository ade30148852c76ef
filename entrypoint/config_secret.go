package main

import (
	"reflect"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// secretValues returns the values that must not appear in logs, errors and messages.
// Of the webhooks it is what stands before the first name to be filled in, since
// the URLs in use differ behind it. The access key id is among them: text that
// holds presigned URLs on purpose, that is the files of a result, must not be
// scrubbed of it.
func (c *Config) secretValues() []string {
	var all []string
	for _, v := range variables() {
		if v.kind != secretKind {
			continue
		}
		value := reflect.ValueOf(c).Elem().FieldByIndex(v.index).Interface().(secret.Text).Reveal()
		if v.tag.Get("format") == "url" {
			value, _, _ = strings.Cut(value, "$")
		}
		if value != "" {
			all = append(all, value)
		}
	}
	return all
}
