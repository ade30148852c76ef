// Package nodeinfo holds what a ComfyUI says of its nodes (/object_info): which
// classes there are and which values their inputs take. With it a workflow that
// ComfyUI is bound to refuse is recognised without asking, and what its author
// meant is guessed.
//
//	info, err := nodeinfo.Parse(answer)
//	faults := info.Check(nodes)            // why ComfyUI will refuse them
//	info.NearValues(class, field, value)   // "did you mean …?"
//
// # What Check refuses
//
// Never what ComfyUI would take. The description does not tell all that decides:
// a class may have a validation of its own (VALIDATE_INPUTS), which replaces the
// comparison with its lists, its lists may be Python objects that contain more
// than they show, and nodes that no output needs are not validated at all. So
// Check knows two faults:
//
//   - A class that does not exist. ComfyUI refuses the whole workflow over one,
//     wherever in it the node stands. Classes that ComfyUI replaces by others
//     (from 0.14 on, /node_replacements) are excepted: see Spare.
//   - A text that is not in the list of an input, where the class is one of
//     ComfyUI's own loaders and samplers which compare with their lists and do
//     nothing else (see enforced), and an output depends on the node.
//
// Inputs whose list is not the whole truth are never compared: uploads, lists
// that are fetched from elsewhere, inputs that take several values. Neither are
// numbers, links and values that are not plain texts. Everything else is for
// ComfyUI to judge; its refusals are then made more helpful with NearClasses and
// NearValues, which know the lists of all classes.
//
// Lists change while ComfyUI runs: a model may have been added since. The caller
// asks for the classes at fault once more (Renewed) and checks again before it
// believes a fault. A class that is described but cannot describe itself
// for the moment is told from one that does not exist by the same question.
//
// What cannot be seen from outside is a custom node that rewrites prompts before
// ComfyUI validates them. Where one does so for missing classes or models, the
// check has to be turned off.
//
// # Size
//
// An answer has 0.5 to 2 MB, mostly explanations. It is read as a stream, class
// by class, and only names and lists are kept; equal lists and names are kept
// once. A thousand classes with 5,000 models take less than 2 MB.
package nodeinfo
