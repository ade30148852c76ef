package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/localapi"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/s3store"
	"github.com/comfyvisor/comfyvisor/internal/webhook"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A source is where jobs come from, and the actor behind it: the heartbeat, or
// the server.
type source interface {
	worker.Source
	Run(ctx context.Context) error
}

// newSource returns the source that the configuration names. Ports are taken
// here, so that one that is in use ends the program before ComfyUI is started.
func newSource(cfg Config, file string, inside podSide, log *zap.Logger) (source, error) {
	switch {
	case file != "":
		return newOneJob(file)
	case cfg.General.Local:
		return newLocalAPI(cfg, inside, log)
	case cfg.balanced():
		return newBalanced(cfg, inside, log)
	}
	client, err := runpod.New(runpod.Config{
		TakeURL:   runpod.Template{Name: "RUNPOD_WEBHOOK_GET_JOB", URL: cfg.Queue.TakeURL.Reveal()},
		DoneURL:   runpod.Template{Name: "RUNPOD_WEBHOOK_POST_OUTPUT", URL: cfg.Queue.DoneURL.Reveal()},
		StreamURL: runpod.Template{Name: "RUNPOD_WEBHOOK_POST_STREAM", URL: cfg.Queue.StreamURL.Reveal()},
		PingURL:   runpod.Template{Name: "RUNPOD_WEBHOOK_PING", URL: cfg.Queue.PingURL.Reveal()},
		APIKey:    cfg.Queue.APIKey.Reveal(),
		WorkerID:  cfg.Queue.WorkerID, Version: protocolVersion,
		SpoolDir: filepath.Join(cfg.General.DataDir, "queue"),
		Contain:  inside.panics.restarts, Hurry: inside.hurry, Retried: inside.retried,
		PingInterval: cfg.Queue.PingInterval, ProgressInterval: cfg.Jobs.ProgressInterval,
	}, log.Named("runpod"))
	return client, exitWith(exitConfig, err)
}

// protocolVersion is told to the queue as runpod_version: that of the SDK whose
// requests ours equal.
const protocolVersion = "1.12.0"

// podSide is what a source needs of the rest of the pod.
type podSide struct {
	panics  *containment
	hurry   <-chan struct{}
	ready   func() error
	restart func(force bool) (string, error)
	page    http.Handler // nil for none
	retried func()       // a result is sent to the queue again
}

func newLocalAPI(cfg Config, inside podSide, log *zap.Logger) (source, error) {
	addr := net.JoinHostPort(cfg.API.Host, strconv.Itoa(cfg.API.Port))
	l, err := localapi.Listen(addr)
	if err != nil {
		return nil, exitWith(exitConfig, fmt.Errorf("API_HOST, API_PORT: %w", err))
	}
	return localapi.New(apiConfig(cfg, inside, cfg.API.Port), l, log.Named("api")), nil
}

// apiConfig is that of the local API on a port.
func apiConfig(cfg Config, inside podSide, port int) localapi.Config {
	return localapi.Config{
		Token: cfg.API.Token.Reveal(), Hosts: cfg.API.Hosts, WorkerID: cfg.Queue.WorkerID,
		Ready: inside.ready, Restart: inside.restart, Page: inside.page,
		Webhooks: webhook.New(webhook.Config{Secret: cfg.API.WebhookSecret.Reveal(), AllowPrivate: cfg.Jobs.PrivateURLs}),
		SpoolDir: filepath.Join(cfg.General.DataDir, "results", strconv.Itoa(port)), // of this server alone
		Grace:    cfg.Watch.StopBudget / 18,
	}
}

// bucketConfig is the pod's own bucket.
func bucketConfig(b BucketConfig) s3store.Config {
	return s3store.Config{
		EndpointURL: b.Endpoint, AccessKeyID: b.AccessKeyID.Reveal(), SecretAccessKey: b.SecretAccessKey.Reveal(),
		Region: b.Region, BucketName: b.Name, PathStyle: b.Style, KeyTemplate: b.template(),
		PresignExpiry: b.PresignExpiry, PublicURL: b.PublicURL,
	}
}

// newStore returns where files of results go, nil if they go with the result.
func newStore(cfg Config, retried func(), log *zap.Logger) (worker.Store, error) {
	b := cfg.Bucket
	if b.Endpoint == "" {
		return nil, nil
	}
	config := bucketConfig(b)
	config.Retried = retried
	store, err := s3store.New(config, log.Named("s3"))
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	if len(cfg.Adopted) > 0 {
		log.Info("S3 is set up by variables of other programs' names, whose secrets ComfyUI is not given unless COMFY_ENV_PASS names them",
			zap.Strings("variables", slices.Sorted(maps.Values(cfg.Adopted))))
	}
	return store, nil
}

// checkBucket warns of a bucket that does not answer, or not to these keys. It
// takes 3 s at most, and holds up nothing.
func checkBucket(store worker.Store, log *zap.Logger) {
	s3, is := store.(*s3store.Store)
	if !is {
		return
	}
	if err := s3.Check(context.Background()); err != nil {
		log.Warn("the bucket may not take files", zap.Error(err))
	}
}

// jobBuckets returns what opens the buckets that jobs bring. Their addresses are
// strangers' words, so they are judged like the URLs of inputs.
func jobBuckets(cfg Config, retried func(), log *zap.Logger) func(worker.Bucket) (worker.Store, func(), error) {
	urls := fetch.New(fetch.Config{AllowPrivate: cfg.Jobs.PrivateURLs})
	var guard s3store.Guard
	if !cfg.Jobs.PrivateURLs {
		guard = urls.Control
	}
	return func(b worker.Bucket) (worker.Store, func(), error) {
		if _, err := urls.Check(b.EndpointURL); err != nil {
			return nil, nil, fmt.Errorf("%s.endpointUrl: %w", b.Field, err)
		}
		store, err := s3store.New(s3store.Config{
			EndpointURL: b.EndpointURL, AccessKeyID: b.AccessID, SecretAccessKey: b.AccessSecret, BucketName: b.Name,
			KeyTemplate: cfg.Bucket.template(), PresignExpiry: cfg.Bucket.PresignExpiry,
			Field: b.Field, Guard: guard, Retried: retried,
		}, log.Named("s3"))
		if err != nil {
			return nil, nil, err
		}
		return store, store.Close, nil
	}
}

// newFetch returns what downloads the files that jobs name by URL, nil if none
// are to be.
func newFetch(cfg Config) *fetch.Client {
	if cfg.Jobs.MaxDownload == 0 {
		return nil
	}
	return fetch.New(fetch.Config{
		Dir:      filepath.Join(cfg.General.DataDir, "downloads"),
		MaxBytes: int64(cfg.Jobs.MaxDownload) * 1e6, AllowPrivate: cfg.Jobs.PrivateURLs,
	})
}

// healthcheck asks a running comfyvisor whether it is ready.
func healthcheck(environ []string) int {
	cfg, err := configFromEnv(environ)
	if err != nil {
		return report(exitWith(exitConfig, err))
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + cfg.Log.StatusAddr + "/readyz")
	if err != nil {
		return report(exitWith(exitJobFailed, fmt.Errorf("ask comfyvisor at STATUS_ADDR=%s: %w", cfg.Log.StatusAddr, err)))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return report(exitWith(exitJobFailed, fmt.Errorf("not ready for jobs: /readyz of %s answers %s", cfg.Log.StatusAddr, resp.Status)))
	}
	return exitDone
}
