// Package volume tells what is on a network volume as far as ComfyUI's models go.
//
//	Find    the folders of models, in every place where people put them
//	Paths   the model path file for ComfyUI that names them
//	Stat    whether a path is there
//	Look    a report: mount, room, models by kind, what ComfyUI will not see and why
//
// A network volume may stall, and a call that touches it then stands still for as
// long as it pleases. So each of them is given a time: when it is over the call
// goes on by itself, and what was found until then is returned. Walks end after a
// number of entries too.
//
// Nothing is written to the volume.
package volume
