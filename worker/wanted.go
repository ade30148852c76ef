package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/convert"
)

// wanted is what a job says of its outputs in input.output.
type wanted struct {
	previews bool
	format   *string // nil for what the worker's default says
	quality  *int
	maxEdge  *int
}

// over is what a job wants of pictures where the worker's default is def.
func (w wanted) over(def convert.Format) convert.Format {
	if w.format != nil {
		def.Name = *w.format
	}
	if w.quality != nil {
		def.Quality = *w.quality
	}
	if w.maxEdge != nil {
		def.MaxEdge = *w.maxEdge
	}
	return def
}

// parseWanted validates input.output and returns every fault of it.
func parseWanted(raw json.RawMessage) (w wanted, faults []error) {
	if isNull(raw) {
		return w, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return w, []error{fmt.Errorf(`input.output is not an object (%s): want {"format": "jpeg", "quality": 90, "max_edge": 1024, "previews": false}, or some of it`, jsonFault(err))}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		if isNull(value) {
			continue
		}
		var err error
		switch name {
		case "format":
			w.format, err = parseFormat(value)
		case "quality":
			w.quality, err = parseWhole(value, 1, 100)
		case "max_edge":
			w.maxEdge, err = parseWhole(value, 0, convert.LongestEdge)
		case "previews":
			if json.Unmarshal(value, &w.previews) != nil {
				err = fmt.Errorf("is %s: want true or false", clip(string(value)))
			}
		default:
			err = fmt.Errorf("is not known: there are format, quality, max_edge and previews")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("input.output.%s %w", clip(name), err))
		}
	}
	return w, faults
}

func parseFormat(raw json.RawMessage) (*string, error) {
	var name string
	known := json.Unmarshal(raw, &name) == nil
	if name = strings.ToLower(name); name == "jpg" {
		name = "jpeg"
	}
	if !known || !slices.Contains(convert.Formats, name) {
		return nil, fmt.Errorf("is %s: want one of %s", clip(string(raw)), strings.Join(convert.Formats, ", "))
	}
	return &name, nil
}

// parseWhole reads a whole number between two bounds.
func parseWhole(raw json.RawMessage, low, high int) (*int, error) {
	var n int
	if json.Unmarshal(raw, &n) != nil || n < low || n > high {
		return nil, fmt.Errorf("is %s: want a whole number from %d to %d", clip(string(raw)), low, high)
	}
	return &n, nil
}
