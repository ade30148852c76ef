package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/jobclient"
)

// ErrJobFailed means that the job was done as far as it could be, and did not
// complete. What was told about it has been shown.
var ErrJobFailed = errors.New("the job did not complete")

type submission struct {
	server
	images, files, sets texts
	out                 string
	timeout             time.Duration
	asJSON, quiet       bool
}

const submitSynopsis = `comfyvisor submit WORKFLOW.json [options]

Sends a workflow to comfyvisor's local API, or to an endpoint of RunPod, shows how
far it has come, and saves the files that it makes. WORKFLOW.json is a workflow in
API format ("Workflow > Export (API)" in ComfyUI), or a job {"input": {...}}; - is
standard input. Ctrl-C cancels the job.

  comfyvisor submit portrait.json --image face.png --set 6.text="a cat" --out pictures`

// Submit sends a job, follows it to its end and saves its files.
func Submit(ctx context.Context, e Env, args []string) error {
	var s submission
	f := newFlags("submit", submitSynopsis)
	s.register(f)
	f.Var(&s.images, "image", "`FILE` or NAME=FILE: a picture that a node of the workflow loads by that name; may be repeated")
	f.Var(&s.files, "file", "`FILE` or NAME=FILE: the same for a file of any kind")
	f.Var(&s.sets, "set", "`NODE.FIELD=VALUE`: change an input of the workflow; NODE is an id or a title; may be repeated")
	f.StringVar(&s.out, "out", "output", "`DIR` where files are saved; it is made if it is not there")
	f.DurationVar(&s.timeout, "timeout", 0, "give the job up after this `time`, such as 90s or 10m; 0 waits as long as it takes")
	f.BoolVar(&s.asJSON, "json", false, "print one JSON document about the end of the job instead of text")
	f.BoolVar(&s.quiet, "quiet", false, "show no progress")
	rest, err := parse(f, e, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return &UsageError{"submit", fmt.Errorf("want one workflow, got %d", len(rest))}
	}
	return s.run(ctx, e, rest[0])
}

func (s *submission) run(ctx context.Context, e Env, file string) error {
	m := &meter{w: e.Err, width: e.Width, quiet: s.quiet}
	job, err := s.compose(e, m, file)
	if err != nil {
		return err
	}
	client, err := s.client(e)
	if err != nil {
		return err
	}
	defer client.Close()
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("the %v of --timeout are over", s.timeout))
		defer cancel()
	}
	id, err := client.Submit(ctx, job)
	if err != nil {
		return s.explain(err)
	}
	if !s.quiet {
		m.say("job %s at %s", plain(id), client.URL())
	}
	j, err := follow(ctx, client, id, m)
	m.clear()
	if ctx.Err() != nil {
		giveUp(ctx, client, id, m)
		return context.Cause(ctx)
	}
	if err != nil {
		return s.explain(err)
	}
	defer j.Close()
	return s.report(ctx, e, client, j)
}

// compose makes the job of the file and of what is to be changed in it.
func (s *submission) compose(e Env, m *meter, file string) (json.RawMessage, error) {
	r, err := readRequest(e.In, file)
	if err != nil {
		return nil, err
	}
	for _, assignment := range s.sets {
		if err := r.set(assignment); err != nil {
			return nil, &UsageError{"submit", err}
		}
	}
	for _, input := range []struct {
		flag, list, key string
		given           texts
	}{{"image", "images", "image", s.images}, {"file", "files", "data", s.files}} {
		for _, given := range input.given {
			name, err := r.attach(input.list, input.key, given)
			if err != nil {
				return nil, err
			}
			if err := r.uses(name, given); err != nil {
				m.say("note: --%s %s: %v", input.flag, given, err)
			}
		}
	}
	return r.encode()
}

// Between two looks at a job, and how long a server may be out of reach.
const (
	firstLook  = 100 * time.Millisecond
	longLook   = 2 * time.Second
	outOfReach = time.Minute
)

// follow looks at a job until it has ended.
func follow(ctx context.Context, c *jobclient.Client, id string, m *meter) (*jobclient.Job, error) {
	wait, reached := firstLook, time.Now()
	for {
		j, err := c.Job(ctx, id)
		switch {
		case err == nil && j.State.Final():
			return j, nil
		case err == nil:
			reached = time.Now()
			m.show(j)
			if err := j.Close(); err != nil {
				return nil, err
			}
		case !jobclient.Passing(err) || time.Since(reached) > outOfReach:
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		wait = min(wait*5/4, longLook)
	}
}

// giveUp cancels a job whose end nobody waits for any more.
func giveUp(ctx context.Context, c *jobclient.Client, id string, m *meter) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	state, err := c.Cancel(ctx, id)
	if err != nil {
		m.say("the job may go on: %v", err)
		return
	}
	m.say("job %s is %s", plain(id), state)
}

// A saved is a file as it is told of.
type saved struct {
	Path     string `json:"path"`
	Filename string `json:"filename"`
	Kind     string `json:"kind,omitempty"`
	MIME     string `json:"mime_type,omitempty"`
	Node     string `json:"node_id,omitempty"`
	Size     int64  `json:"size"`
}

// An ending is what --json prints.
type ending struct {
	ID        string                     `json:"id"`
	Status    jobclient.State            `json:"status"`
	Error     string                     `json:"error,omitempty"`
	Cause     string                     `json:"cause,omitempty"`
	Delay     int64                      `json:"delayTime"`
	Execution int64                      `json:"executionTime"`
	Files     []saved                    `json:"files"`
	Values    map[string]json.RawMessage `json:"values,omitempty"`
	Warnings  []string                   `json:"errors,omitempty"`
}

// report saves the files of a job that has ended and tells of it.
func (s *submission) report(ctx context.Context, e Env, c *jobclient.Client, j *jobclient.Job) error {
	end := ending{
		ID: j.ID, Status: j.State, Error: j.Error, Cause: j.Cause, Files: []saved{}, Values: j.Values, Warnings: j.Warnings,
		Delay: j.Delay.Milliseconds(), Execution: j.Execution.Milliseconds(),
	}
	var lost error
	if len(j.Files) > 0 {
		if err := os.MkdirAll(s.out, 0o755); err != nil {
			return fmt.Errorf("save files: %w; --out names another directory", err)
		}
	}
	for _, f := range j.Files {
		path, size, err := save(ctx, c, j, f, s.out)
		if err != nil {
			lost = errors.Join(lost, err)
			continue
		}
		end.Files = append(end.Files, saved{path, f.Name, f.Kind, f.MIME, f.Node, size})
	}
	if err := end.print(e, j, s.asJSON); err != nil {
		return err
	}
	if j.State != jobclient.Completed {
		return ErrJobFailed
	}
	return lost
}

func (end *ending) print(e Env, j *jobclient.Job, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(e.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(end)
	}
	for _, f := range end.Files {
		fmt.Fprintf(e.Out, "%s\n", f.Path)
	}
	for _, node := range slices.Sorted(maps.Keys(end.Values)) {
		fmt.Fprintf(e.Out, "node %s: %s\n", plain(node), plain(string(end.Values[node])))
	}
	for _, w := range end.Warnings {
		fmt.Fprintf(e.Err, "warning: %s\n", plain(w))
	}
	switch {
	case end.Status == jobclient.Completed && len(j.Files) == 0 && len(end.Values) == 0:
		fmt.Fprintf(e.Out, "the job completed without a file; its output: %s\n", plain(string(j.Output)))
	case end.Status == jobclient.Completed:
		fmt.Fprintf(e.Err, "done in %v\n", j.Execution.Round(10*time.Millisecond))
	case end.Status == jobclient.Failed:
		fmt.Fprintf(e.Err, "the job failed (%s):\n%s\n", cause(end.Cause), end.Error)
	default:
		fmt.Fprintf(e.Err, "the job is %s %s\n", end.Status, end.Error)
	}
	return nil
}

func cause(word string) string {
	if word == "" {
		return "no cause told"
	}
	return word
}
