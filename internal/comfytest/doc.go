// Package comfytest is a simulated ComfyUI, as httptest is to http: real HTTP
// and WebSocket answers, a real queue with one worker, real files, and the
// faults of the real thing, without Python and without a GPU. Command
// fakecomfy below it is the same as a process.
//
//	s := comfytest.NewServer(t, comfytest.Config{Version: comfytest.V0330})
//	res, err := http.Post(s.URL+"/prompt", "application/json", body)
//	…
//	for _, e := range s.Executions() { … } // what truly happened
//
// Its behaviour is that of recordings of ComfyUI 0.3.64 and 0.33.0: routes,
// statuses, bodies, the order of messages, the end of a prompt
// (execution_success, then the history, then status, then executing null),
// caching, file numbering, cancelling, and its bugs. testdata holds the facts
// that the tests compare it with.
//
// # Parts
//
//	Server       listens; Restart starts the next incarnation on its address
//	Comfy        one incarnation: an http.Handler, its worker and its hub
//	Config       version, directories, models, durations, faults
//	Faults       what goes wrong, see below
//	Execution    the ledger: what ran, when, how it ended, which files it wrote
//
// New starts a Comfy for a server of the caller's own; Serve starts a Server
// on any listener, in-memory ones included. Nothing in the package waits
// otherwise than on channels and timers, so it works under testing/synctest,
// and Close leaves no goroutine behind. A test that waits for something takes
// Changed, looks, and then waits for the channel.
//
// The end of the process (SimDie, Kill, a fault) cuts every connection without
// a close message and refuses new ones, and Config.Exit is told the exit code
// or the signal. History, queue and cache are gone with it; the ledger goes on
// in the next incarnation of the same Server.
//
// # Nodes
//
// Of ComfyUI: CheckpointLoaderSimple, LoraLoader, VAELoader, CLIPTextEncode,
// EmptyLatentImage, KSampler, VAEEncode, VAEDecode, LoadImage, LoadImageMask,
// EmptyImage, ImageScale, ImageInvert, SaveImage, PreviewImage,
// SaveAnimatedPNG, SaveAnimatedWEBP, SaveWEBM, SaveImageWebsocket,
// CreateVideo, SaveVideo, LoadAudio, SaveAudio, SaveAudioMP3, SaveAudioOpus,
// PreviewAudio, SaveLatent, SaveGLB, Preview3D, PreviewAny, the primitives,
// VHS_VideoCombine; in the newer generation also SaveText, SaveImageAdvanced,
// ImageCropV2, Save3DAdvanced, Preview3DAdvanced. KSampler paints a picture
// from its prompts, seed and model, through which an encoded input image
// shines.
//
// Of the simulator, all inputs optional, all of them output nodes unless they
// are sources (SimTone, SimMesh):
//
//	SimSleep       seconds; mode sleep, poll (progress, and looks for an
//	               interrupt), async, gil (nothing is answered), swallow; steps
//	SimSlowChange  seconds in IS_CHANGED: an interrupt there ends the worker
//	               of the newer generation
//	SimRaise       exception_type, message; stderr: a line before it
//	SimOOM         message: torch.OutOfMemoryError
//	SimDie         how: sigkill sigsegv abort sigterm sigint exit:N sys_exit
//	               keyboardinterrupt bad_ui; when: before_output after_output
//	SimFiles       count, bytes, kind (the key: images, gifs, audio, 3d), ext,
//	               filename_prefix, subfolder, report, temp, seed
//	SimText        text                     SimUI    json: any ui
//	SimNaN         a bare NaN               SimTag   tag: passes an image on
//	SimLog         lines, bytes, newline    SimLeak  mb
//	SimBlock       message: an ExecutionBlocker for what follows
//	SimEnv         the environment as text (executable only)
//	SimFork        count, setsid, hold_stdout, port (executable only)
//	SimTone        an AUDIO                 SimMesh  a MESH
//
// SimSleep, SimRaise, SimOOM and SimDie take a link as "after", to be put
// behind another node.
//
// # Faults
//
// A Fault is on an occasion, skips some, acts on some, and does one thing.
// On a request ("POST /prompt", "GET /history/*", "*"; never with /api):
//
//	""        only Delay, then as usual
//	answer    Status, Type and Body; ComfyUI does not see the request
//	ran       ComfyUI handles it, and the client gets Status and Body
//	lost      ComfyUI handles it, and the connection is cut
//	reset     the connection is cut at once
//	hang      no answer
//	drip      Bytes at a time, every Delay
//	truncate  the body is cut after After bytes, its length announced
//
// On "ws", a handshake and what is sent after it:
//
//	refuse (Status), reset, hang     no WebSocket
//	silent, cut, close               after After messages
//	no-end                           without the end marker
//	twice, shuffle, foreign          messages doubled, reversed, of another prompt
//	garbage, oversize (Bytes)        broken JSON, a large message
//
// On "prompt", an execution:
//
//	late-history   the entry comes Delay after execution_success
//	no-history     the entry never comes
//	no-end         no end marker is sent
//
// On "process", at once:
//
//	zombie              the worker thread ends
//	block               nothing is answered or sent for Delay
//	wipe                the history is lost
//	teardown, exit      the end with code Status, slowly or at once, after Delay
//	kill                the end by SIGKILL, after Delay
//	link reset          all connections are reset (executable only)
//	link silent         nothing passes on them for Delay (executable only)
//	link drip           a few bytes at a time pass on them for Delay (executable only)
//
// As JSON, for POST /sim/faults and fakecomfy, the keys are in lower case and
// Delay is text: {"on": "GET /view", "do": "drip", "bytes": 64, "delay": "20ms"}.
package comfytest
