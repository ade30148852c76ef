package nodeinfo

import "maps"

// Info is what one ComfyUI says of its nodes. Once it is shared it is not
// changed any more, so it may be used from any goroutine. A nil Info knows
// nothing and finds no fault.
type Info struct {
	classes map[string]class
	// spared are classes that need not exist.
	spared map[string]bool
}

// A class is what is kept of the description of a node class.
type class struct {
	title    string // what the editor calls it, "" if that is its name
	output   bool   // prompts are made of what these nodes need
	enforced bool   // values that are not in the lists are refused for sure
	// inputs are the values that each input takes, nil where they are not a
	// list of texts, or not only that.
	inputs map[string][]string
}

// enforced are the classes of ComfyUI's nodes.py which have no validation of
// their own in any version from 0.3.40 on, so that a value has to be in the list.
var enforced = map[string]bool{
	"CheckpointLoader": true, "CheckpointLoaderSimple": true, "unCLIPCheckpointLoader": true,
	"LoraLoader": true, "LoraLoaderModelOnly": true, "VAELoader": true, "UNETLoader": true,
	"CLIPLoader": true, "DualCLIPLoader": true, "CLIPVisionLoader": true,
	"ControlNetLoader": true, "DiffControlNetLoader": true, "StyleModelLoader": true, "GLIGENLoader": true,
	"KSampler": true, "KSamplerAdvanced": true,
}

// ownModule is where ComfyUI says that its own classes come from. A custom node
// that takes the name of one is from elsewhere.
const ownModule = "nodes"

// Spare makes Check pass over nodes of classes that ComfyUI replaces by others
// if they do not exist. It is called before the Info is shared.
func (i *Info) Spare(classes []string) {
	i.spared = make(map[string]bool, len(classes))
	for _, name := range classes {
		i.spared[name] = true
	}
}

// Renewed returns a copy in which one class is as a later answer to the question
// for it alone has it; it is gone if that answer has not got it.
func (i *Info) Renewed(name string, answer *Info) *Info {
	renewed := &Info{classes: maps.Clone(i.classes), spared: i.spared}
	if c, ok := answer.classes[name]; ok {
		renewed.classes[name] = c
	} else {
		delete(renewed.classes, name)
	}
	return renewed
}

// Len is the number of classes.
func (i *Info) Len() int {
	if i == nil {
		return 0
	}
	return len(i.classes)
}

// Title is what the editor calls a class.
func (i *Info) Title(class string) string {
	if i == nil {
		return ""
	}
	return i.classes[class].title
}

// IsOutput tells whether prompts are made of what nodes of a class need.
func (i *Info) IsOutput(class string) bool { return i != nil && i.classes[class].output }

// Values are the texts that an input takes, nil if that is not known. They are
// shared and must not be changed.
func (i *Info) Values(class, field string) []string {
	if i == nil {
		return nil
	}
	return i.classes[class].inputs[field]
}
