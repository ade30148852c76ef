package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const cancelSynopsis = `comfyvisor cancel JOB [options]

Gives a job up: one that waits is not run, one that runs leaves the GPU.`

// Cancel gives a job up.
func Cancel(ctx context.Context, e Env, args []string) error {
	var s server
	f := newFlags("cancel", cancelSynopsis)
	s.register(f)
	rest, err := parse(f, e, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return &UsageError{"cancel", fmt.Errorf("want the id of one job, got %d", len(rest))}
	}
	client, err := s.client(e)
	if err != nil {
		return err
	}
	defer client.Close()
	state, err := client.Cancel(ctx, rest[0])
	if err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(e.Out, "job %s is %s\n", plain(rest[0]), state)
	return nil
}

const restartSynopsis = `comfyvisor restart [options]

Has the comfyvisor of this machine restart ComfyUI: between two jobs, or at once
with --force.`

// Restart has ComfyUI restarted.
func Restart(ctx context.Context, e Env, args []string) error {
	var s server
	var force bool
	f := newFlags("restart", restartSynopsis)
	s.register(f)
	f.BoolVar(&force, "force", false, "do not wait for the job at hand, which then runs again")
	rest, err := parse(f, e, args)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return &UsageError{"restart", fmt.Errorf("want no argument, got %q", rest)}
	}
	client, err := s.client(e)
	if err != nil {
		return err
	}
	defer client.Close()
	what, err := client.Restart(ctx, force)
	if err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(e.Out, "restart of ComfyUI: %s\n", plain(what))
	return nil
}

const statusSynopsis = `comfyvisor status [options]

Tells what the comfyvisor of this machine does: how ComfyUI is and why, how its
last run ended, and how many jobs there are. Exits with 0 if jobs can be run and
with 1 if not.`

// ErrNotReady means that jobs would not be run; why was shown.
var ErrNotReady = errors.New("not ready for jobs")

// A podState is what /debug/state shows of a comfyvisor.
type podState struct {
	Version   string `json:"version"`
	Jobs      int    `json:"jobs"`
	Instances []struct {
		Name        string    `json:"name"`
		State       string    `json:"state"`
		Incarnation int       `json:"incarnation"`
		PID         int       `json:"pid"`
		Started     time.Time `json:"started"`
		Restarts    int       `json:"restarts"`
		LastExit    string    `json:"last_exit"`
		LastLines   []string  `json:"last_lines"`
		Ready       bool      `json:"ready"`
		Reason      string    `json:"reason"`
		Job         string    `json:"job"`
	} `json:"instances"`
}

// Status tells how the comfyvisor of this machine is.
func Status(ctx context.Context, e Env, args []string) error {
	var addr string
	var asJSON bool
	f := newFlags("status", statusSynopsis)
	f.StringVar(&addr, "address", e.Status, "`HOST:PORT` of the status page, which STATUS_ADDR sets")
	f.BoolVar(&asJSON, "json", false, "print the state as JSON")
	rest, err := parse(f, e, args)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return &UsageError{"status", fmt.Errorf("want no argument, got %q", rest)}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := page(ctx, addr, "/debug/state")
	if err != nil {
		return fmt.Errorf("%w; is comfyvisor running there? --address names another address", err)
	}
	var p podState
	if err := json.Unmarshal(text, &p); err != nil {
		return fmt.Errorf("read the state of comfyvisor at %s: %w; something else answers there", addr, err)
	}
	if asJSON {
		_, err := e.Out.Write(append([]byte(strings.TrimSpace(string(text))), '\n'))
		return errors.Join(err, p.ready())
	}
	fmt.Fprintf(e.Out, "comfyvisor %s: %d jobs at hand\n", plain(p.Version), p.Jobs)
	p.print(e.Out, time.Now())
	return p.ready()
}

func (p *podState) ready() error {
	for _, in := range p.Instances {
		if in.Ready {
			return nil
		}
	}
	return ErrNotReady
}

func (p *podState) print(w io.Writer, now time.Time) {
	for _, in := range p.Instances {
		fmt.Fprintf(w, "\n%s is %s", plain(in.Name), plain(in.State))
		if in.PID != 0 {
			fmt.Fprintf(w, " as process %d for %v", in.PID, now.Sub(in.Started).Round(time.Second))
		}
		if in.Ready {
			fmt.Fprint(w, ", and ready for jobs\n")
		} else {
			fmt.Fprintf(w, ", and not ready: %s\n", cmp.Or(plain(in.Reason), "no reason told"))
		}
		if in.Job != "" {
			fmt.Fprintf(w, "  job       %s\n", plain(in.Job))
		}
		fmt.Fprintf(w, "  restarts  %d\n", in.Restarts)
		if in.LastExit != "" {
			fmt.Fprintf(w, "  last end  %s\n", plain(in.LastExit))
		}
		for _, l := range in.LastLines[max(0, len(in.LastLines)-lastLines):] {
			fmt.Fprintf(w, "            | %s\n", plain(l))
		}
	}
}

// lastLines is how many of the last words of a ComfyUI are shown.
const lastLines = 5

// page reads a page of the status address.
func page(ctx context.Context, addr, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %q: it is no host:port", addr)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask comfyvisor at %s: %w", addr, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask comfyvisor at %s: answered %s", addr, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 4<<20))
}
