package nodeinfo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// wireClass is one entry of /object_info.
type wireClass struct {
	Input struct {
		Required map[string]json.RawMessage `json:"required"`
		Optional map[string]json.RawMessage `json:"optional"`
	} `json:"input"`
	Title  string `json:"display_name"`
	Module string `json:"python_module"`
	Output bool   `json:"output_node"`
}

// Parse reads an answer of /object_info or /object_info/CLASS as it arrives. A
// class whose description is odd is kept with what could be read of it.
func Parse(r io.Reader) (*Info, error) {
	dec := json.NewDecoder(&pythonJSON{r: r})
	start, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("read the list of nodes: %w", err)
	}
	if start != json.Delim('{') {
		return nil, errors.New("read the list of nodes: it is no object")
	}
	p := &parser{
		info:  &Info{classes: make(map[string]class)},
		texts: make(map[string]string), lists: make(map[string][]string),
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("read the list of nodes after %d classes: %w", len(p.info.classes), err)
		}
		var wire wireClass
		var mistyped *json.UnmarshalTypeError
		if err := dec.Decode(&wire); err != nil && !errors.As(err, &mistyped) {
			return nil, fmt.Errorf("read class %q of the list of nodes: %w", name, err)
		}
		p.class(name.(string), wire)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read the list of nodes after %d classes: %w", len(p.info.classes), err)
	}
	return p.info, nil
}

// A parser keeps each text and each list once: the names of models and inputs
// recur in many classes.
type parser struct {
	info  *Info
	texts map[string]string
	lists map[string][]string // by their JSON
}

func (p *parser) class(name string, wire wireClass) {
	c := class{
		output:   wire.Output,
		enforced: enforced[name] && wire.Module == ownModule,
		inputs:   make(map[string][]string, len(wire.Input.Required)+len(wire.Input.Optional)),
	}
	if wire.Title != name {
		c.title = wire.Title
	}
	for _, inputs := range []map[string]json.RawMessage{wire.Input.Optional, wire.Input.Required} {
		for field, config := range inputs {
			c.inputs[p.text(field)] = p.values(config)
		}
	}
	p.info.classes[name] = c
}

func (p *parser) text(s string) string {
	if kept, ok := p.texts[s]; ok {
		return kept
	}
	p.texts[s] = s
	return s
}

// values reads the description of an input, [["a", "b"], {…}] or
// ["COMBO", {"options": ["a", "b"], …}], and returns its list.
func (p *parser) values(config json.RawMessage) []string {
	var parts []json.RawMessage
	if !mayList(config) || json.Unmarshal(config, &parts) != nil || len(parts) == 0 {
		return nil
	}
	var options map[string]json.RawMessage
	if len(parts) > 1 && json.Unmarshal(parts[1], &options) != nil {
		return nil
	}
	list := parts[0]
	if string(list) == `"COMBO"` {
		list = options["options"]
	}
	if len(list) == 0 || list[0] != '[' || stale(options) {
		return nil
	}
	return p.list(list)
}

// mayList tells from the first bytes whether the description of an input can have
// a list: most have not.
func mayList(config json.RawMessage) bool {
	first := bytes.TrimLeft(bytes.TrimPrefix(config, []byte("[")), " \t\r\n")
	return bytes.HasPrefix(first, []byte("[")) || bytes.HasPrefix(first, []byte(`"COMBO"`))
}

// staleMarks occur in the names of the options of inputs that take more than
// their list shows: image_upload, remote, remote_combo, multi_select, and so on.
var staleMarks = []string{"upload", "remote", "dynamic", "folder", "multi"}

func stale(options map[string]json.RawMessage) bool {
	for name := range options {
		for _, mark := range staleMarks {
			if strings.Contains(name, mark) {
				return true
			}
		}
	}
	return false
}

// list reads a list of texts, nil if it has anything else in it.
func (p *parser) list(raw json.RawMessage) []string {
	if kept, ok := p.lists[string(raw)]; ok {
		return kept
	}
	var texts []*string
	var list []string
	if json.Unmarshal(raw, &texts) == nil {
		list = make([]string, 0, len(texts))
		for _, text := range texts {
			if text == nil {
				list = nil
				break
			}
			list = append(list, p.text(*text))
		}
	}
	p.lists[string(raw)] = list
	return list
}
