package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/doctor"
	"github.com/comfyvisor/comfyvisor/internal/s3store"
	"github.com/comfyvisor/comfyvisor/internal/secret"
	"github.com/comfyvisor/comfyvisor/internal/volume"
)

// doctorLimit bounds each check.
const doctorLimit = 30 * time.Second

// examine says what is good and what is wrong with this pod, and returns 0 if
// nothing keeps jobs from being done.
func examine(environ []string, asJSON bool) int {
	cfg, faults := configFromEnv(environ)
	findings := doctor.Run(context.Background(), doctorLimit, checks(cfg, faults, environ))
	scrub := new(secret.Scrubber)
	scrub.Add(cfg.secretValues()...)
	for i := range findings {
		scrubFinding(&findings[i], scrub)
	}
	if err := writeFindings(os.Stdout, findings, asJSON); err != nil {
		return report(err)
	}
	if !doctor.Healthy(findings) {
		return exitJobFailed
	}
	return exitDone
}

func scrubFinding(f *doctor.Finding, scrub *secret.Scrubber) {
	f.Text, f.Advice = scrub.String(f.Text), scrub.String(f.Advice)
	for i := range f.Details {
		f.Details[i] = scrub.String(f.Details[i])
	}
}

func writeFindings(w *os.File, findings []doctor.Finding, asJSON bool) error {
	if !asJSON {
		_, err := unix.IoctlGetTermios(int(w.Fd()), unix.TCGETS)
		return doctor.Write(w, findings, err == nil)
	}
	return encodeFindings(w, findings)
}

func encodeFindings(w io.Writer, findings []doctor.Finding) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Version  string           `json:"version"`
		OK       bool             `json:"ok"`
		Findings []doctor.Finding `json:"findings"`
	}{version, doctor.Healthy(findings), findings})
}

// checks are all that there are, in the order in which they are printed.
func checks(cfg Config, faults error, environ []string) []doctor.Check {
	argv, err := comfyArgv(cfg)
	if err != nil {
		argv = []string{"python"} // the fault is among those of the configuration
	}
	found := func(f doctor.Finding) func(context.Context) doctor.Finding {
		return func(context.Context) doctor.Finding { return f }
	}
	client := comfy.New(comfy.Config{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Comfy.Port))}, zap.NewNop())
	gpu := doctor.GPU{
		At:     health.GPU{Visible: lookup(environ, "NVIDIA_VISIBLE_DEVICES")},
		Wanted: gpuWanted(cfg, argv), CUDA: lookup(environ, "CUDA_VERSION"),
	}
	home := doctor.ComfyUI{Home: cfg.Comfy.Home, Argv: argv, Path: lookup(environ, "PATH")}
	disk := doctor.Disk{Dirs: []string{outputDir(cfg, argv), inputDir(cfg, argv), cfg.General.DataDir}, Free: int64(cfg.Jobs.MinFree) * 1e6}
	return []doctor.Check{
		{Name: "configuration", Run: found(configFinding(faults, environ))},
		{Name: "gpu", Run: func(context.Context) doctor.Finding { return gpu.Look() }},
		{Name: "comfyui", Run: func(context.Context) doctor.Finding { return home.Look() }},
		{Name: "port", Run: func(ctx context.Context) doctor.Finding { return doctor.Port(ctx, cfg.Comfy.Port, client.Alive) }},
		{Name: "volume", Run: func(context.Context) doctor.Finding { return volumeFinding(cfg) }},
		{Name: "disk", Run: func(context.Context) doctor.Finding { return disk.Look() }},
		{Name: "s3", Run: func(ctx context.Context) doctor.Finding { return bucketFinding(ctx, cfg) }},
		{Name: "queue", Run: func(ctx context.Context) doctor.Finding { return sourceFinding(ctx, cfg) }},
	}
}

// configFinding tells the faults of the configuration.
func configFinding(faults error, environ []string) doctor.Finding {
	if faults != nil {
		return doctor.Finding{
			Verdict: doctor.Fail, Text: "the configuration has faults, the checks below go by the defaults in their place",
			Details: strings.Split(faults.Error(), "\n"), Advice: "docs/configuration.md and comfyvisor --help list every variable",
		}
	}
	set := 0
	for _, v := range variables() {
		if lookup(environ, v.Name) != "" {
			set++
		}
	}
	return doctor.Finding{Verdict: doctor.OK, Text: fmt.Sprintf("%d of %d variables are set", set, len(variables()))}
}

func volumeFinding(cfg Config) doctor.Finding {
	wanted := cfg.General.Volume != "" || cfg.Comfy.ModelPath == modelPathAuto
	return doctor.Volume(volume.Look(cfg.volumePath(), doctorLimit-time.Second), wanted, pathFiles(cfg))
}

// bucketFinding stores, reads and removes an object.
func bucketFinding(ctx context.Context, cfg Config) doctor.Finding {
	if cfg.Bucket.Endpoint == "" {
		return doctor.Finding{Verdict: doctor.OK, Text: "none is set up: files travel inside results, as base64"}
	}
	settings := bucketConfig(cfg.Bucket)
	settings.Attempts, settings.Deadline = 2, 5*time.Second // somebody waits
	store, err := s3store.New(settings, zap.NewNop())
	if err != nil {
		return doctor.Finding{Verdict: doctor.Fail, Text: "the bucket's settings have faults", Details: strings.Split(err.Error(), "\n")}
	}
	defer store.Close()
	return doctor.Bucket(store.Try(ctx, "comfyvisor-doctor-"+uuid.NewString()))
}

// sourceFinding tells whether jobs can come.
func sourceFinding(ctx context.Context, cfg Config) doctor.Finding {
	switch {
	case cfg.servesAPI():
		return apiFinding(cfg)
	case cfg.Queue.TakeURL.Empty():
		return doctor.Finding{Verdict: doctor.Warn, Text: "there is nowhere to take jobs from",
			Advice: "set SERVE_API_LOCALLY=true for the local API, or let RunPod set RUNPOD_WEBHOOK_GET_JOB"}
	}
	urls := make(map[string]string)
	for name, u := range map[string]secret.Text{
		"RUNPOD_WEBHOOK_GET_JOB": cfg.Queue.TakeURL, "RUNPOD_WEBHOOK_POST_OUTPUT": cfg.Queue.DoneURL,
		"RUNPOD_WEBHOOK_POST_STREAM": cfg.Queue.StreamURL, "RUNPOD_WEBHOOK_PING": cfg.Queue.PingURL,
	} {
		if !u.Empty() {
			urls[name] = u.Reveal()
		}
	}
	return doctor.Reach(ctx, urls, new(tls.Config))
}

// apiFinding tells who can send jobs to the local API.
func apiFinding(cfg Config) doctor.Finding {
	port := cfg.API.Port
	if cfg.balanced() {
		port, _ = cfg.balancedPorts()
	}
	f := doctor.Finding{Verdict: doctor.OK, Text: "no queue: the job API is served on " + net.JoinHostPort(cfg.API.Host, strconv.Itoa(port))}
	addr, err := netip.ParseAddr(cfg.API.Host)
	local := cfg.API.Host == "localhost" || err == nil && addr.IsLoopback()
	if cfg.API.Token.Empty() && !local && !cfg.balanced() {
		f.Verdict, f.Advice = doctor.Warn, "whoever reaches that port can run jobs: set API_TOKEN, or API_HOST=127.0.0.1"
	}
	return f
}
