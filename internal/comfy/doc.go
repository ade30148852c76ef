// Package comfy talks to one ComfyUI over HTTP and its event socket. ComfyUI's
// routes, wire types and wire words stay in here.
//
// [Client.Run] is the heart. It hands a prompt to ComfyUI and returns when the
// prompt has ended:
//
//	Run ──POST──▶ /prompt
//	 ▲
//	 ├── inbox ◀── stream ◀── one event socket for all runs     a hint
//	 └── ask ────▶ /history (then /api/jobs, /queue)            the truth
//
// The event socket tells what happens while it happens, but loses messages,
// falls silent and claims failures that were none. So an event only makes Run
// look at the history at once, and only the history decides how a prompt ended.
// Without events history is asked every two seconds, after a reconnect at once:
// a lost end marker delays a result, it never loses one.
//
// The caller chooses the id of a prompt ([PromptID]). When the answer to a
// submission is lost, or says 500, ComfyUI is asked for that id, and the prompt
// is submitted again only if ComfyUI does not know it.
//
// A Client is used from any goroutine, and by several runs at once. It keeps one
// socket, because ComfyUI unregisters the newer of two sockets with the same
// client id when the older one closes. The socket is opened by the first run,
// read all the time (ComfyUI stalls for everybody when one client does not
// read), and closed when no run has used it for a minute. [Client.Reset] is
// called when the ComfyUI process was replaced, [Client.Close] at the end.
//
// What is foreign is bounded: bodies, frames, tracebacks, lists. JSON may hold a
// bare NaN, which is read as null, and values of the wrong type, which are
// ignored. The inputs of a failed node are never kept: ComfyUI puts API keys
// among them.
//
// The package neither starts ComfyUI nor decides whose fault a failure is, does
// not store outputs, and never cancels a prompt on its own, except one that
// ComfyUI accepted only in part.
package comfy
