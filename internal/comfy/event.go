package comfy

// An Event tells what happens to a prompt while it runs: one of the types below
// it in this file. Nodes are those of the workflow: what happens inside a node
// that expanded into others is told of that node.
//
// Events are for watching. They may be missing, and none of them decides how a
// prompt ended.
type Event interface{ event() }

type (
	// Queued tells that ComfyUI has the prompt and how many are before it, the
	// running one included, or -1 while that is not known. It is told again when
	// the number changes.
	Queued struct{ Ahead int }

	// Started tells that ComfyUI executes the prompt.
	Started struct{}

	// Cached tells which nodes are not executed because their results are known.
	Cached struct{ Nodes []string }

	// Executing tells which node is at work.
	Executing struct{ Node string }

	// Progress is how far a node has come, in steps of its own choice.
	Progress struct {
		Node       string
		Value, Max float64
	}

	// Executed tells that an output node is done.
	Executed struct{ Node string }

	// Finished tells that the prompt seems to have ended well. What it made is known
	// a moment later.
	Finished struct{}

	// Preview is an image of unfinished work. Node is "" if not known.
	Preview struct {
		Node string
		MIME string
		Data []byte
	}

	// Text is what a node says about its work.
	Text struct{ Node, Text string }

	// SocketLost tells that events will be missing. The run goes on by asking.
	SocketLost struct{ Err error }

	// SocketRegained tells that events come again.
	SocketRegained struct{}

	// PollingOnly tells that the attempts to get the socket back are used up.
	PollingOnly struct{ Err error }
)

func (Queued) event()         {}
func (Started) event()        {}
func (Cached) event()         {}
func (Executing) event()      {}
func (Progress) event()       {}
func (Executed) event()       {}
func (Finished) event()       {}
func (Preview) event()        {}
func (Text) event()           {}
func (SocketLost) event()     {}
func (SocketRegained) event() {}
func (PollingOnly) event()    {}
