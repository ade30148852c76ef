package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/localapi"
)

// What RunPod's load balancers pass on, either way.
const balancerLimit = 30e6

// balanced tells whether the pod stands behind a load balancer, which says by
// PORT or PORT_HEALTH where it will ask. A queue and the local API come first.
func (c *Config) balanced() bool {
	return !c.General.Local && c.Queue.TakeURL.Empty() && (c.API.BalancedPort > 0 || c.API.HealthPort > 0)
}

// servesAPI tells whether jobs come by way of an API of our own.
func (c *Config) servesAPI() bool { return c.General.Local || c.balanced() }

// balancedPorts are where the job API and the health check are.
func (c *Config) balancedPorts() (api, health int) {
	api = cmp.Or(c.API.BalancedPort, 80)
	return api, cmp.Or(c.API.HealthPort, api)
}

// A balanced is the local API behind a load balancer, with a port for the
// balancer's health check if that is not the API's own.
type balanced struct {
	*localapi.Server
	health *http.Server
	l      net.Listener // nil if the API answers health checks alone
}

// newBalanced takes the ports. The health check needs no token and is answered
// from the start on: 204 until ready returns nil, then 200.
func newBalanced(cfg Config, inside podSide, log *zap.Logger) (source, error) {
	api, health := cfg.balancedPorts()
	l, err := localapi.Listen(net.JoinHostPort(cfg.API.Host, strconv.Itoa(api)))
	if err != nil {
		return nil, exitWith(exitConfig, fmt.Errorf("PORT: %w", err))
	}
	b := &balanced{health: &http.Server{Handler: healthCheck(cfg.API.HealthPath, inside.ready), ReadHeaderTimeout: healthTimeout}}
	config := apiConfig(cfg, inside, api)
	config.HealthPath, config.MaxBody = cfg.API.HealthPath, balancerLimit
	b.Server = localapi.New(config, l, log.Named("api"))
	if health == api {
		return b, nil
	}
	if b.l, err = localapi.Listen(net.JoinHostPort(cfg.API.Host, strconv.Itoa(health))); err != nil {
		return nil, errors.Join(exitWith(exitConfig, fmt.Errorf("PORT_HEALTH: %w", err)), l.Close())
	}
	return b, nil
}

// healthTimeout bounds how long a health check may take to ask.
const healthTimeout = 5 * time.Second

// Run serves until ctx ends, and returns its error. The health check is
// answered as long as the API is.
func (b *balanced) Run(ctx context.Context) error {
	if b.l == nil {
		return b.Server.Run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		cancel(fmt.Errorf("serve health checks on %s: %w", b.l.Addr(), b.health.Serve(b.l)))
	}()
	err := b.Server.Run(ctx)
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	_ = b.health.Close() // its answers are short and already gone
	<-served
	return err
}

// healthCheck is what a load balancer asks of a port of its own.
func healthCheck(path string, ready func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != path:
			http.NotFound(w, r)
		case ready() != nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
}
