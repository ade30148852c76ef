package comfy

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// An Outcome is what a prompt left behind.
type Outcome struct {
	// Outputs are the files that nodes reported, in the order of node ids.
	Outputs []Output
	// Values are what nodes reported beside files, by node: normally an object
	// of the lists that it reported, such as {"text": ["a cat"]}.
	Values map[string]json.RawMessage
	// CachedNodes were not executed. Their outputs name files of an earlier run.
	CachedNodes []string
	// Frames are images that nodes sent over the event socket as results.
	Frames []Frame
	// NodeTimes is how long nodes were at work, as far as events told. It is
	// exact to the delay of events only.
	NodeTimes map[string]time.Duration
	// Elapsed is the time of execution by ComfyUI's own clock, 0 if not told.
	Elapsed time.Duration
	// Warnings tell, for people, what went wrong without failing the prompt.
	Warnings []string
}

// An Output is a file that a node reported. Its names are foreign text: they
// have to be checked before they become part of a path.
type Output struct {
	// Node is the id that ComfyUI reports. For a node inside of another one it
	// begins with the other's id and a dot.
	Node string
	// Kind is the name of the list it stood in: images (videos too), gifs, audio,
	// 3d, files...
	Kind                string
	Filename, Subfolder string
	// Type is the directory: output, temp or input.
	Type string
	// Animated tells that the node called it an animation or a video.
	Animated bool
	// Format is the MIME type that some nodes tell, "" otherwise.
	Format string
}

// outcome sorts what the history has of a prompt into files and values.
func (e *historyEntry) outcome() *Outcome {
	o := &Outcome{CachedNodes: e.Status.cached(), Elapsed: e.Status.elapsed()}
	for _, node := range slices.SortedFunc(maps.Keys(e.Outputs), compareNodes) {
		files, rest := sortOutput(node, e.Outputs[node])
		o.Outputs = append(o.Outputs, files...)
		if rest != nil {
			if o.Values == nil {
				o.Values = make(map[string]json.RawMessage)
			}
			o.Values[node] = rest
		}
	}
	return o
}

// sortOutput sorts what one node reported. Anything that has a filename is a
// file, wherever it stands; what is left are values, nil if nothing is.
func sortOutput(node string, raw json.RawMessage) (files []Output, rest json.RawMessage) {
	if !isObject(raw) {
		return nil, raw
	}
	var lists map[string]json.RawMessage
	_ = decode(raw, &lists)
	var animated []any
	_ = decode(lists["animated"], &animated)
	isAnimated := slices.Contains(animated, any(true))

	values := make(map[string]json.RawMessage)
	for _, kind := range slices.Sorted(maps.Keys(lists)) {
		found, left := takeFiles(lists[kind], 0)
		for _, f := range found {
			files = append(files, f.output(node, kind, isAnimated))
		}
		if left != nil {
			values[kind] = left
		}
	}
	if len(files) > 0 {
		delete(values, "animated") // said of the files, and kept with them
	}
	if len(values) > 0 {
		rest, _ = json.Marshal(values) // raw JSON from a decoder
	}
	return files, rest
}

// wireFile is an object with a filename.
type wireFile struct {
	Filename  *string `json:"filename"`
	Subfolder string  `json:"subfolder"`
	Type      string  `json:"type"`
	Format    string  `json:"format"`
}

func (f wireFile) output(node, kind string, animated bool) Output {
	return Output{
		Node: node, Kind: kind,
		Filename: *f.Filename, Subfolder: f.Subfolder,
		Type:     cmp.Or(f.Type, "output"),
		Animated: animated,
		Format:   f.Format,
	}
}

// nesting is how deep files are looked for.
const nesting = 8

// takeFiles takes the files out of raw and returns what is left, nil if nothing
// is. An object that holds files deeper inside is left as it is.
func takeFiles(raw json.RawMessage, depth int) (files []wireFile, rest json.RawMessage) {
	switch {
	case depth > nesting:
	case isList(raw):
		return takeFromList(raw, depth)
	case isObject(raw):
		var file wireFile
		if decode(raw, &file) == nil && file.Filename != nil && *file.Filename != "" {
			return []wireFile{file}, nil
		}
		var fields map[string]json.RawMessage
		_ = decode(raw, &fields)
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			found, _ := takeFiles(fields[name], depth+1)
			files = append(files, found...)
		}
	}
	return files, raw
}

func takeFromList(raw json.RawMessage, depth int) (files []wireFile, rest json.RawMessage) {
	var items, left []json.RawMessage
	_ = decode(raw, &items)
	for _, item := range items {
		found, other := takeFiles(item, depth+1)
		files = append(files, found...)
		if other != nil {
			left = append(left, other)
		}
	}
	switch {
	case len(files) == 0:
		return nil, raw
	case len(left) == 0:
		return files, nil
	}
	rest, _ = json.Marshal(left) // raw JSON from a decoder
	return files, rest
}

// compareNodes orders node ids as numbers where they are numbers.
func compareNodes(a, b string) int {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}
