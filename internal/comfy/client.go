package comfy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// Config says where ComfyUI is and how patiently to listen to it.
type Config struct {
	// Addr is host:port.
	Addr string
	// Dial opens connections, a net.Dialer if it is nil.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Reconnect says how the event socket is won back.
	Reconnect Reconnect
	// PollSilent is how long a prompt may be silent before ComfyUI is asked for
	// it, 2 s if it is 0. After five times that it is asked twice as often.
	PollSilent time.Duration
	// Trace is shown every frame of the event socket, "received" or "sent", from
	// the goroutine that reads it. It must not keep the frame nor take long.
	// Frames hold whatever workflows hold, secrets too. It may be nil.
	Trace func(direction string, frame []byte)
}

// Reconnect spaces the attempts to open a lost event socket again. The first is
// made at once. When all are used up, runs go on by asking, and the next run to
// begin starts over.
type Reconnect struct {
	Attempts int           // 5 if it is 0, none if it is negative
	Delay    time.Duration // before each attempt but the first, 3 s if it is 0
}

// delay returns how long to wait before the attempt with the given number, and
// whether there is one. Attempt 0 is no further one: it opens the first socket.
func (r Reconnect) delay(attempt int) (time.Duration, bool) {
	if attempt <= 1 {
		return 0, attempt <= max(r.Attempts, 0)
	}
	return r.Delay, attempt <= r.Attempts
}

// A Client talks to one ComfyUI. All its methods may be used from any goroutine.
type Client struct {
	cfg       Config
	log       *zap.Logger
	id        string // client id, which all prompts are submitted under
	transport *http.Transport
	http      *http.Client
	stream    *stream
	postings  postings
	answers   atomic.Uint64 // that were no failures of the server's

	// What this ComfyUI turned out to lack, until Reset.
	lacksJobs, lacksCancel atomic.Bool

	mu sync.Mutex
	// renamed are the ids that a ComfyUI too old to be told ids gave instead.
	renamed map[string]string
}

// New returns a client. It connects when it is first used. The caller must
// Close it. A nil log discards what it is told.
func New(cfg Config, log *zap.Logger) *Client {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	if cfg.Reconnect.Attempts == 0 {
		cfg.Reconnect.Attempts = 5
	}
	if cfg.Reconnect.Delay == 0 {
		cfg.Reconnect.Delay = 3 * time.Second
	}
	if cfg.PollSilent == 0 {
		cfg.PollSilent = 2 * time.Second
	}
	if log == nil {
		log = zap.NewNop()
	}
	if cfg.Trace == nil {
		cfg.Trace = func(string, []byte) {}
	}
	transport := newTransport(cfg.Dial)
	c := &Client{
		cfg: cfg, log: log, id: uuid.NewString(),
		transport: transport,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.stream = newStream(cfg, c.id, log)
	return c
}

// Reset forgets what was learned of ComfyUI and drops all connections. The owner
// calls it when the process was replaced and the runs on the old one have been
// told to end. It returns when the event socket is closed, within 2 s.
func (c *Client) Reset() {
	c.postings.drop(false)
	c.stream.stop(false)
	c.transport.CloseIdleConnections()
	c.lacksJobs.Store(false)
	c.lacksCancel.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renamed = nil
}

// Close is Reset for good: later runs return ErrClosed. No goroutine of the
// client is left when it returns.
func (c *Client) Close() error {
	c.postings.drop(true)
	c.stream.stop(true)
	c.transport.CloseIdleConnections()
	return nil
}

// Alive asks the cheapest question that needs ComfyUI's event loop, and judges
// the answer. Ctx bounds it. A nil error does not mean that the thread which
// executes prompts lives.
func (c *Client) Alive(ctx context.Context) error {
	a, err := c.exchange(ctx, request{
		method: http.MethodGet, path: "/prompt", limit: smallAnswer, timeout: answerTimeout,
	})
	if err != nil {
		return err
	}
	var queue struct {
		ExecInfo *struct{} `json:"exec_info"`
	}
	if err := a.decode(&queue); err != nil {
		return err
	}
	if queue.ExecInfo == nil {
		return errors.New("GET /prompt: whoever answered is not ComfyUI: the answer has no exec_info")
	}
	return nil
}

// Heard changes whenever ComfyUI sends something: an answer to a request, other
// than that it cannot answer (500 and above), or a frame of the event socket. It
// is no measure of anything.
func (c *Client) Heard() uint64 { return c.answers.Load() + c.stream.frames.Load() }

func (c *Client) answered(resp *http.Response) {
	if resp.StatusCode < http.StatusInternalServerError {
		c.answers.Add(1)
	}
}

// Stats is what ComfyUI says of itself.
type Stats struct {
	Version, Python, PyTorch string
	Devices                  []Device
}

// A Device is what models are computed on. Sizes are in bytes.
type Device struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Index     int    `json:"index"`
	VRAMTotal int64  `json:"vram_total"`
	VRAMFree  int64  `json:"vram_free"`
}

// Stats asks ComfyUI for its version and devices. Ctx bounds it, 30 s do if it
// has no deadline. The same goes for the methods below.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	a, err := c.get(ctx, "/system_stats", mediumAnswer)
	if err != nil {
		return Stats{}, err
	}
	var wire struct {
		System struct {
			Version string `json:"comfyui_version"`
			Python  string `json:"python_version"`
			PyTorch string `json:"pytorch_version"`
		} `json:"system"`
		Devices []Device `json:"devices"`
	}
	if err := a.decode(&wire); err != nil {
		return Stats{}, err
	}
	s := wire.System
	return Stats{Version: s.Version, Python: s.Python, PyTorch: s.PyTorch, Devices: wire.Devices}, nil
}

// ObjectInfo gives read the description of all node classes, or of one if class
// is not "", as ComfyUI sends it. That of a class which does not exist is {}.
// ComfyUI is busy with all of them for up to 0.2 s.
func (c *Client) ObjectInfo(ctx context.Context, class string, read func(io.Reader) error) error {
	path := "/object_info"
	if class != "" {
		path += "/" + url.PathEscape(class)
	}
	return c.stream200(ctx, request{method: http.MethodGet, path: path, limit: largeAnswer, timeout: answerTimeout}, read)
}

// NodeReplacements returns the node classes that ComfyUI replaces by others
// where they do not exist. Before 0.14 there are none.
func (c *Client) NodeReplacements(ctx context.Context) ([]string, error) {
	a, err := c.get(ctx, "/node_replacements", mediumAnswer)
	if err != nil || a.status == http.StatusNotFound {
		return nil, err
	}
	var wire map[string]json.RawMessage
	if err := a.decode(&wire); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(wire)), nil
}

// Free makes ComfyUI unload its models and drop its cache, after the running
// prompt if there is one.
func (c *Client) Free(ctx context.Context) error {
	return c.command(ctx, "/free", map[string]bool{"unload_models": true, "free_memory": true})
}

// Forget deletes the prompt from ComfyUI's history.
func (c *Client) Forget(ctx context.Context, id string) error {
	if err := c.command(ctx, "/history", map[string][]string{"delete": {c.wireID(id)}}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.renamed, id)
	return nil
}

// command posts what is answered by 200 and nothing else.
func (c *Client) command(ctx context.Context, path string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("POST %s: encode: %w", path, err)
	}
	a, err := c.exchange(ctx, request{
		method: http.MethodPost, path: path, body: data, limit: smallAnswer, timeout: answerTimeout,
	})
	if err != nil {
		return err
	}
	return a.ok()
}

// wireID is the id under which ComfyUI knows the prompt called id.
func (c *Client) wireID(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.renamed[id]; ok {
		return other
	}
	return id
}

func (c *Client) rename(id, other string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renamed == nil {
		c.renamed = make(map[string]string)
	}
	c.renamed[id] = other
}
