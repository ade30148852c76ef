package cli

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/jobclient"
)

// Env is what a command knows of its surroundings.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	// Width is how many columns Err has if it is a terminal, and 0 if it is none.
	Width int
	// API is the URL of the local API and Token its token, "" for none.
	API, Token string
	// RunPodKey is the key for endpoints of RunPod.
	RunPodKey string
	// Status is host:port of the status page.
	Status string
}

// RunPod is where the endpoints of RunPod are found by their ids.
const RunPod = "https://api.runpod.ai/v2"

// A UsageError tells what is wrong with the arguments of a command.
type UsageError struct {
	Command string
	Err     error
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("%v; comfyvisor %s --help shows what it takes", e.Err, e.Command)
}

func (e *UsageError) Unwrap() error { return e.Err }

// ErrHelp means that the help of a command was asked for, and shown.
var ErrHelp = flag.ErrHelp

// server are the flags that say who is asked.
type server struct {
	url, endpoint, token string
}

func (s *server) register(f *flag.FlagSet) {
	f.StringVar(&s.url, "url", "", "`URL` of the job API; without it the local API of this machine (API_HOST, API_PORT)")
	f.StringVar(&s.endpoint, "endpoint", "", "`ID` of an endpoint of RunPod, whose key is in RUNPOD_API_KEY")
	f.StringVar(&s.token, "token-from", "", "`FILE` that holds the token, instead of API_TOKEN or RUNPOD_API_KEY in the environment")
}

// client returns the client of the server that the flags name.
func (s *server) client(e Env) (*jobclient.Client, error) {
	cfg := jobclient.Config{URL: cmp.Or(s.url, e.API), Token: e.Token}
	if s.endpoint != "" {
		cfg = jobclient.Config{URL: cmp.Or(s.url, RunPod) + "/" + s.endpoint, Token: e.RunPodKey}
	}
	if s.token != "" {
		token, err := readToken(s.token)
		if err != nil {
			return nil, err
		}
		cfg.Token = token
	}
	if s.endpoint != "" && cfg.Token == "" {
		return nil, errors.New("an endpoint of RunPod wants a key: set RUNPOD_API_KEY to one from the console's settings")
	}
	return jobclient.New(cfg)
}

// readToken is the text of a file without the white space around it.
func readToken(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// local tells whether the local API is asked as it is by default.
func (s *server) local() bool { return s.url == "" && s.endpoint == "" }

// explain adds what to do to the error of a call.
func (s *server) explain(err error) error {
	var status *jobclient.StatusError
	switch {
	case errors.As(err, &status):
		switch {
		case status.Code == 401 && s.endpoint != "":
			return fmt.Errorf("%w; check RUNPOD_API_KEY", err)
		case status.Code == 401:
			return fmt.Errorf("%w; set API_TOKEN to the token with which comfyvisor was started", err)
		case status.Code == 404 && s.endpoint != "":
			return fmt.Errorf("%w; is %q the id of an endpoint of yours?", err, s.endpoint)
		}
	case jobclient.Passing(err) && s.local():
		return fmt.Errorf("%w; is comfyvisor running there with SERVE_API_LOCALLY=true? --url names another address", err)
	}
	return err
}

// texts is a flag that may be given again and again.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, " ") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }

// parse reads flags wherever they stand and returns the other arguments.
func parse(f *flag.FlagSet, e Env, args []string) (rest []string, err error) {
	f.SetOutput(io.Discard)
	for {
		err := f.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(e.Out)
			f.Usage()
			return nil, ErrHelp
		}
		if err != nil {
			return nil, &UsageError{f.Name(), err}
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
}

// newFlags returns the flags of a command, whose help begins with synopsis.
func newFlags(name, synopsis string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "%s\n\nOptions:\n", synopsis)
		f.PrintDefaults()
	}
	return f
}
