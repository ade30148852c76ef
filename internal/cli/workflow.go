package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// A request is a job as it is sent: fields beside input stay as they came.
type request struct {
	fields   map[string]json.RawMessage
	input    map[string]json.RawMessage
	workflow map[string]map[string]json.RawMessage // nil where it is no object
}

// readRequest reads a workflow in API format, or a whole job with its input, from
// a file; "-" is in.
func readRequest(in io.Reader, name string) (*request, error) {
	text, err := readFile(in, name)
	if err != nil {
		return nil, err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s is no JSON object (%w): want a workflow, as ComfyUI's \"Workflow > Export (API)\" writes it, or a job {\"input\": {...}}", name, err)
	}
	r := &request{fields: doc}
	if _, whole := doc["input"]; !whole {
		r.fields = map[string]json.RawMessage{}
		r.input = map[string]json.RawMessage{"workflow": text}
	} else if err := json.Unmarshal(doc["input"], &r.input); err != nil || r.input == nil {
		return nil, fmt.Errorf("%s has an input that is no object", name)
	}
	var nodes map[string]json.RawMessage
	if err := json.Unmarshal(r.input["workflow"], &nodes); err != nil {
		return r, nil // for comfyvisor to judge
	}
	if list, ok := nodes["nodes"]; ok && bytes.HasPrefix(bytes.TrimSpace(list), []byte("[")) {
		return nil, fmt.Errorf("%s is in the format of ComfyUI's editor: export it with \"Workflow > Export (API)\" and send that file", name)
	}
	r.workflow = make(map[string]map[string]json.RawMessage)
	for id, raw := range nodes {
		var node map[string]json.RawMessage
		if err := json.Unmarshal(raw, &node); err != nil || node["class_type"] == nil {
			return nil, fmt.Errorf("%s is no workflow in API format: %q in it is no node with a class_type", name, id)
		}
		r.workflow[id] = node
	}
	return r, nil
}

func readFile(in io.Reader, name string) ([]byte, error) {
	if name == "-" {
		text, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("read the workflow from standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the workflow: %w", err)
	}
	return text, nil
}

// encode returns the job as it is sent.
func (r *request) encode() (json.RawMessage, error) {
	if r.workflow != nil {
		text, err := json.Marshal(r.workflow)
		if err != nil {
			return nil, err
		}
		r.input["workflow"] = text
	}
	input, err := json.Marshal(r.input)
	if err != nil {
		return nil, err
	}
	fields := maps.Clone(r.fields)
	fields["input"] = input
	return json.Marshal(fields)
}

// set changes one input of a node, as in 6.text=a cat or 6.inputs.text=a cat. The
// node may be named by its title, too. A value stays of the kind that it is: a text
// remains a text though it may look like a number.
func (r *request) set(assignment string) error {
	path, value, ok := strings.Cut(assignment, "=")
	if !ok {
		return fmt.Errorf("--set %s: want NODE.FIELD=VALUE, for instance 6.text=\"a cat\"", assignment)
	}
	if r.workflow == nil {
		return fmt.Errorf("--set %s: the file holds no workflow whose nodes can be changed", path)
	}
	name, field, ok := cutPath(path)
	if !ok {
		return fmt.Errorf("--set %s: names no field; want NODE.FIELD=VALUE", path)
	}
	id, err := r.node(name)
	if err != nil {
		return fmt.Errorf("--set %s: %w", path, err)
	}
	var inputs map[string]json.RawMessage
	if err := json.Unmarshal(r.workflow[id]["inputs"], &inputs); err != nil || inputs == nil {
		inputs = map[string]json.RawMessage{}
	}
	present, known := inputs[field]
	if !known {
		return fmt.Errorf("--set %s: node %s has no input %q: %s", path, id, field, choices(field, slices.Sorted(maps.Keys(inputs))))
	}
	inputs[field] = typed(value, present)
	text, err := json.Marshal(inputs)
	if err != nil {
		return fmt.Errorf("--set %s: %w", path, err)
	}
	r.workflow[id]["inputs"] = text
	return nil
}

// cutPath takes the field from the end of a path; a title may hold dots.
func cutPath(path string) (node, field string, ok bool) {
	if node, field, ok = strings.Cut(path, ".inputs."); ok {
		return node, field, node != "" && field != ""
	}
	i := strings.LastIndexByte(path, '.')
	if i <= 0 || i == len(path)-1 {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

// node returns the id of the node that has this id, or alone has this title.
func (r *request) node(name string) (string, error) {
	if _, ok := r.workflow[name]; ok {
		return name, nil
	}
	var found, known []string
	for id, n := range r.workflow {
		var meta struct {
			Title string `json:"title"`
		}
		_ = json.Unmarshal(n["_meta"], &meta) // a node without a title has none
		if meta.Title != "" && strings.EqualFold(meta.Title, name) {
			found = append(found, id)
		}
		known = append(known, id)
		if meta.Title != "" {
			known = append(known, meta.Title)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		slices.Sort(known)
		return "", fmt.Errorf("the workflow has no node %q: %s", name, choices(name, known))
	}
	slices.Sort(found)
	return "", fmt.Errorf("nodes %s all have the title %q: name one by its id", strings.Join(found, ", "), name)
}

// choices tells which names there are, and which was perhaps meant.
func choices(want string, names []string) string {
	near := nodeinfo.Near(want, names)
	const shown = 20
	rest := ""
	if len(names) > shown {
		names, rest = names[:shown], ", ..."
	}
	there := "there are " + strings.Join(names, ", ") + rest
	if len(names) == 0 {
		there = "there is none"
	}
	if len(near) > 0 {
		return there + "; did you mean " + near[0] + "?"
	}
	return there
}

// typed is a value as JSON. Where a text stands it is a text, and else JSON if it
// can be read as that.
func typed(value string, present json.RawMessage) json.RawMessage {
	isText := bytes.HasPrefix(bytes.TrimSpace(present), []byte(`"`))
	quoted := strings.HasPrefix(value, `"`)
	if json.Valid([]byte(value)) && (!isText || quoted) {
		return json.RawMessage(value)
	}
	text, _ := json.Marshal(value) // a text can always be marshalled
	return text
}

// attach adds a local file to a list of the input, under the key that holds its
// bytes there. It is given as PATH or as NAME=PATH, and returns its name.
func (r *request) attach(list, key, given string) (string, error) {
	name, path, renamed := strings.Cut(given, "=")
	if !renamed {
		name, path = filepath.Base(given), given
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read input %s: %w", name, err)
	}
	if len(content) == 0 {
		return "", fmt.Errorf("read input %s: %s is empty", name, path)
	}
	var items []json.RawMessage
	if raw := r.input[list]; raw != nil {
		if err := json.Unmarshal(raw, &items); err != nil {
			return "", fmt.Errorf("add input %s: input.%s of the job is no list", name, list)
		}
	}
	item, err := json.Marshal(map[string]string{"name": name, key: base64.StdEncoding.EncodeToString(content)})
	if err != nil {
		return "", err
	}
	if r.input[list], err = json.Marshal(append(items, item)); err != nil {
		return "", err
	}
	return name, nil
}

// errUnused says that no node uses an input.
var errUnused = errors.New("no node of the workflow names it")

// uses tells whether an input of some node is the name of an attached file. If
// not, the error says which nodes load files, and how to rename it.
func (r *request) uses(name, given string) error {
	var loaders []string
	for id, n := range r.workflow {
		var inputs map[string]any
		_ = json.Unmarshal(n["inputs"], &inputs) // none is none
		var class string
		_ = json.Unmarshal(n["class_type"], &class)
		for field, value := range inputs {
			text, ok := value.(string)
			if ok && strings.TrimSuffix(text, " [input]") == name {
				return nil
			}
			if ok && strings.HasPrefix(class, "Load") && filepath.Ext(text) != "" {
				loaders = append(loaders, fmt.Sprintf("node %s (%s) loads %s as %s", id, class, text, field))
			}
		}
	}
	if r.workflow == nil {
		return nil
	}
	slices.Sort(loaders)
	if len(loaders) == 0 {
		return fmt.Errorf("%w", errUnused)
	}
	_, path, renamed := strings.Cut(given, "=")
	if !renamed {
		path = given
	}
	return fmt.Errorf("%w: %s; give it that name with NAME=%s", errUnused, strings.Join(loaders, ", "), path)
}
