// Command fakecomfy is a simulated ComfyUI as a process of its own: it takes
// ComfyUI's command line, logs its lines on its streams, binds its port last
// and ends the way it ends. What it answers is package comfytest's.
//
// It runs in the directory of --base-directory, or else in the working
// directory, where it makes input, output and temp.
//
// The simulation is set up by environment variables:
//
//	SIMCOMFY_VERSION   0.3.64 (default) or 0.33.0
//	SIMCOMFY_BOOT      time from the start to the bind, default 150ms
//	SIMCOMFY_STEP      time of a sampler step, default 20ms
//	SIMCOMFY_TEARDOWN  length of the half-dead phase, default 250ms
//	SIMCOMFY_FAULTS    what goes wrong: comfytest.Faults as JSON
//	SIMCOMFY_SCRIPT    a JSON file with a list of acts, one for each start in
//	                   turn; it counts the starts in FILE.count
//	SIMCOMFY_LEDGER    a file to which each execution is appended as JSON, when
//	                   it starts and when it ends
//
// An act may have these keys:
//
//	{"boot": "2s"}                          boots that long
//	{"hang": true}                          never binds its port
//	{"exit": 1, "after": "200ms"}           exits while it boots
//	{"signal": 9, "after": "50ms"}          is killed while it boots
//	{"exit": 3, "after": "1s", "ready": true}  exits a second after it is ready
//	{"print": "text"}                       writes to stderr first
//	{"faults": [...]}                       adds faults
//
// POST /v2/manager/reboot (and GET /manager/reboot) does what ComfyUI-Manager
// does: with __COMFY_CLI_SESSION__=PATH in the environment it makes
// PATH.reboot and exits 0, without it the program starts anew in place.
//
// After the last act starts are ordinary. POST /sim/faults sets faults at any
// time, and GET /sim/ledger answers comfytest.Ledger.
//
// Exits are ComfyUI's: 2 and the usage on stderr for a bad command line, 1 for
// a port in use (after the whole boot), signal 15 for SIGTERM, 0 for SIGINT
// after the half-dead phase; SIGHUP is ignored. 64 means that the simulation
// itself was set up badly.
package main
