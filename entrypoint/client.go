package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/cli"
)

// clientCommands are the commands that ask a comfyvisor that runs already, or an
// endpoint of RunPod.
var clientCommands = map[string]func(context.Context, cli.Env, []string) error{
	"submit":  cli.Submit,
	"cancel":  cli.Cancel,
	"restart": cli.Restart,
	"status":  cli.Status,
}

// ask runs one of clientCommands and returns the exit code.
func ask(environ []string, name string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := configFromEnv(environ)
	if err != nil {
		fmt.Fprintf(os.Stderr, "comfyvisor: the environment has faults, and defaults stand in for them:\n%v\n", err)
	}
	err = clientCommands[name](ctx, clientEnv(cfg), args)
	var usage *cli.UsageError
	switch {
	case err == nil, errors.Is(err, cli.ErrHelp):
		return exitDone
	case errors.Is(err, cli.ErrJobFailed), errors.Is(err, cli.ErrNotReady):
		return exitJobFailed // why has been shown
	case errors.As(err, &usage):
		return report(exitWith(exitConfig, err))
	case ctx.Err() != nil:
		return exitCanceled
	}
	return report(exitWith(exitJobFailed, err))
}

// clientEnv is where the commands find what they ask.
func clientEnv(cfg Config) cli.Env {
	host := cfg.API.Host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	e := cli.Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		API:   "http://" + net.JoinHostPort(host, strconv.Itoa(cfg.API.Port)),
		Token: cfg.API.Token.Reveal(), RunPodKey: cfg.Queue.ClientKey.Reveal(),
		Status: cfg.Log.StatusAddr,
	}
	if size, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ); err == nil {
		e.Width = max(int(size.Col), 40)
	}
	return e
}
