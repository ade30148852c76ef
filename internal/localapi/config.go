package localapi

import (
	"cmp"
	"net/http"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/webhook"
)

// Config is what the owner of a Server decides. A zero value anywhere means the
// default named beside it.
type Config struct {
	// Token must come with every request, as "Authorization: Bearer TOKEN" or
	// "Authorization: TOKEN", or be stood for by the cookie of /login. Empty lets
	// everybody in.
	Token string
	// Hosts are the names by which clients may call this server, besides those
	// of the loopback interface. Empty means loopback names only when the
	// listener is on a loopback address; when it is not, any name with a Token,
	// and without one only names that the public DNS does not have.
	Hosts []string
	// WorkerID is told in answers; none if empty.
	WorkerID string
	// Ready returns nil while jobs that arrive can be run at once. Nil means
	// always.
	Ready func() error
	// HealthPath is where a load balancer asks what /ping tells, without a
	// token. Empty answers nobody without one.
	HealthPath string
	// Page is served at / and below /console/, and only its files, whose names
	// have an extension, are for everybody. Nil serves none.
	Page http.Handler
	// Restart is asked for a new ComfyUI by /restart: between two jobs, or at once
	// with force. It returns what will happen, for people. Nil serves no /restart.
	Restart func(force bool) (string, error)

	// Webhooks tells the ends of jobs to the URLs that came with them. Nil ignores
	// those.
	Webhooks *webhook.Sender

	// SpoolDir is where jobs and results are kept until they are forgotten, also
	// for the next Server. It belongs to one at a time. When it is empty, in use
	// or cannot be written to, they are kept in memory.
	SpoolDir string

	MaxBody       int64 // bytes of one request's body: 20 MB
	MaxQueue      int   // queued jobs: 100
	MaxInputs     int64 // bytes of inputs that are read, queued or running: 256 MB
	MaxConns      int   // open connections: 256
	Keep          Keep
	HeaderTimeout time.Duration // for a request's header: 5 s
	IdleTimeout   time.Duration // between two pieces of a body, either way: 10 s
	Grace         time.Duration // for answers on their way at shutdown: 2 s
}

// Keep bounds what is kept of jobs that have ended. The oldest go first.
type Keep struct {
	Jobs   int           // 1,000
	Age    time.Duration // since the end of the job: 1 h
	Memory int64         // bytes of inputs and of results that are not in files: 256 MB
	Disk   int64         // bytes of results in files: 8 GB
}

const (
	kilobyte = 1 << 10
	megabyte = 1 << 20
	gigabyte = 1 << 30
)

func (c Config) withDefaults() Config {
	c.MaxBody = cmp.Or(c.MaxBody, 20*megabyte)
	c.MaxQueue = cmp.Or(c.MaxQueue, 100)
	c.MaxInputs = cmp.Or(c.MaxInputs, 256*megabyte)
	c.MaxConns = cmp.Or(c.MaxConns, 256)
	c.Keep.Jobs = cmp.Or(c.Keep.Jobs, 1000)
	c.Keep.Age = cmp.Or(c.Keep.Age, time.Hour)
	c.Keep.Memory = cmp.Or(c.Keep.Memory, 256*megabyte)
	c.Keep.Disk = cmp.Or(c.Keep.Disk, 8*gigabyte)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 5*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 10*time.Second)
	c.Grace = cmp.Or(c.Grace, 2*time.Second)
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	return c
}
