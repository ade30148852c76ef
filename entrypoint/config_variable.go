package main

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/shlex"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// A variable is one field of Config as its tags describe it.
type variable struct {
	Group   string
	Name    string
	Default string
	Help    string
	OneOf   []string
	Also    []string // names that other programs have for it

	tag   reflect.StructTag
	kind  reflect.Type
	index []int // the field in Config
}

var (
	secretKind   = reflect.TypeFor[secret.Text]()
	boolKind     = reflect.TypeFor[bool]()
	listKind     = reflect.TypeFor[[]string]()
	intKind      = reflect.TypeFor[int]()
	shareKind    = reflect.TypeFor[float64]()
	durationKind = reflect.TypeFor[time.Duration]()
)

// variables returns those of Config, in the order of its fields.
func variables() []variable {
	var all []variable
	for group := range reflect.TypeFor[Config]().Fields() {
		if group.Tag == "" {
			continue
		}
		for field := range group.Type.Fields() {
			all = append(all, variable{
				Group:   group.Tag.Get("group"),
				Name:    field.Tag.Get("env"),
				Default: field.Tag.Get("envDefault"),
				Help:    field.Tag.Get("help"),
				OneOf:   strings.Fields(field.Tag.Get("oneof")),
				Also:    strings.Fields(field.Tag.Get("also")),
				tag:     field.Tag,
				kind:    field.Type,
				index:   append(slices.Clone(group.Index), field.Index...),
			})
		}
	}
	return all
}

// read checks a value, and returns it in the spelling that caarlos0/env
// understands for the field's type.
func (v variable) read(raw string) (string, bool) {
	switch {
	case raw == "":
		return "", true
	case len(v.OneOf) > 0:
		i := slices.IndexFunc(v.OneOf, func(s string) bool { return strings.EqualFold(s, raw) })
		if i < 0 {
			return "", false
		}
		return v.OneOf[i], true
	case v.kind == boolKind:
		return readBool(raw)
	case v.kind == shareKind:
		share, err := strconv.ParseFloat(raw, 64)
		return raw, err == nil && share >= 0 && share <= 1
	case v.kind == listKind:
		return strings.Join(strings.FieldsFunc(raw, func(r rune) bool { return r == ',' || r == ' ' }), ","), true
	case v.kind == intKind || v.kind == durationKind:
		n, ok := v.number(raw)
		if !ok || n < v.bound("min", 0) || n > v.bound("max", 1<<62) {
			return "", false
		}
		if v.kind == durationKind {
			return time.Duration(n).String(), true
		}
		return strconv.FormatInt(n, 10), true
	case v.kind == secretKind && int64(len(raw)) < v.bound("min", 0):
		return "", false
	}
	return raw, v.formatted(raw)
}

func readBool(raw string) (string, bool) {
	switch strings.ToLower(raw) {
	case "true", "1", "yes", "on":
		return "true", true
	case "false", "0", "no", "off":
		return "false", true
	}
	return "", false
}

// units are the words of the tag unit, and what a bare number of a duration
// without that tag counts.
var units = map[string]time.Duration{"": time.Second, "s": time.Second, "ms": time.Millisecond}

// number reads an int, or a duration as its nanoseconds: a number of its unit,
// or one with a unit of time.ParseDuration or with d for days.
func (v variable) number(raw string) (int64, bool) {
	n, err := strconv.ParseInt(raw, 10, 32)
	if err == nil && v.kind == durationKind {
		return n * int64(units[v.tag.Get("unit")]), true
	}
	if err == nil || v.kind != durationKind || v.tag.Get("unit") != "" {
		return n, err == nil
	}
	if days, ok := strings.CutSuffix(raw, "d"); ok {
		n, err = strconv.ParseInt(days, 10, 16)
		return n * int64(24*time.Hour), err == nil
	}
	d, err := time.ParseDuration(raw)
	return int64(d), err == nil
}

// bound returns the number of the tag min or max.
func (v variable) bound(tag string, otherwise int64) int64 {
	if n, ok := v.number(v.tag.Get(tag)); ok {
		return n
	}
	return otherwise
}

// formatted tells whether a text looks as the tag format demands.
func (v variable) formatted(raw string) bool {
	switch v.tag.Get("format") {
	case "url":
		u, err := url.Parse(raw)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
	case "address":
		_, port, err := net.SplitHostPort(raw)
		if err != nil {
			return false
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return err == nil
	case "count":
		n, err := strconv.Atoi(raw)
		return raw == everyGPU || err == nil && n >= 1 && n <= mostInstances
	case "words":
		words, err := shlex.Split(raw)
		return err == nil && len(words) > 0
	}
	return true
}

// hidden tells whether the value must not be shown: it is a secret, or may have
// one inside.
func (v variable) hidden() bool {
	return v.kind == secretKind || v.tag.Get("format") == "url" || v.tag.Get("format") == "words"
}

// fault says what is wrong with the value of name, the variable's or another
// program's for it, which read has refused.
func (v variable) fault(name, raw string) error {
	if v.hidden() {
		return fmt.Errorf("%s: want %s", name, v.want())
	}
	shown := raw
	if len(shown) > 60 {
		shown = shown[:60] + "..."
	}
	if q := strconv.QuoteToASCII(shown); q != `"`+shown+`"` {
		shown = q
	}
	return fmt.Errorf("%s=%s: want %s", name, shown, v.want())
}

// want describes the values allowed.
func (v variable) want() string {
	format := v.tag.Get("format")
	switch {
	case len(v.OneOf) > 0:
		return "one of " + strings.Join(v.OneOf, ", ")
	case v.kind == boolKind:
		return "true or false"
	case v.tag.Get("unit") == "s":
		return "a whole number of seconds" + v.bounds()
	case v.tag.Get("unit") == "ms":
		return "a whole number of milliseconds" + v.bounds()
	case v.kind == intKind:
		return "a whole number" + v.bounds()
	case v.kind == shareKind:
		return "a number from 0 to 1"
	case v.kind == durationKind:
		return "a duration such as 90s or 10m" + v.bounds()
	case v.kind == secretKind && v.tag.Get("min") != "":
		return "at least " + v.tag.Get("min") + " characters"
	case format == "url":
		return "an http or https URL"
	case format == "address":
		return "host:port"
	case format == "count":
		return fmt.Sprintf("auto, or a whole number from 1 to %d", mostInstances)
	case format == "words":
		return "words, with no quotation mark left open"
	}
	return "text"
}

// bounds tells the bounds of a number.
func (v variable) bounds() string {
	low, high := v.tag.Get("min"), v.tag.Get("max")
	if low == "" {
		low = "0"
	}
	if high == "" {
		return ", " + low + " or more"
	}
	return " from " + low + " to " + high
}
