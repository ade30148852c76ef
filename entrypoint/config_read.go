package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/google/uuid"
)

// configFromEnv reads the environment, a list of NAME=value. A variable that is
// empty, or blank, counts as unset. The error names every variable that is
// wrong, what it may be, and its value unless that may be a secret; such
// variables have their defaults in the Config that is returned with it.
func configFromEnv(environ []string) (Config, error) {
	given := make(map[string]string)
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if _, again := given[name]; !again {
			given[name] = strings.TrimSpace(value)
		}
	}
	cfg := Config{Adopted: adopt(given)}
	var faults []error
	values := make(map[string]string)
	for _, v := range variables() {
		values[v.Name], _ = v.read(v.Default)
		name := cmp.Or(cfg.Adopted[v.Name], v.Name)
		if given[name] == "" {
			continue
		}
		value, ok := v.read(given[name])
		if !ok {
			faults = append(faults, v.fault(name, given[name]))
			continue
		}
		values[v.Name] = value
	}
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: values}); err != nil {
		faults = append(faults, err)
	}
	cfg.complete()
	faults = append(faults, cfg.contradictions()...)
	return cfg, errors.Join(faults...)
}

// complete fills in what depends on more than one variable.
func (c *Config) complete() {
	c.Queue.PingInterval = max(c.Queue.PingInterval.Truncate(time.Second), time.Second)
	c.Queue.WorkerID = cmp.Or(c.Queue.WorkerID, uuid.NewString())
	fallback := map[string]string{
		"NOTSET": "debug", "TRACE": "debug", "DEBUG": "debug", "INFO": "info", "WARN": "warn", "ERROR": "error",
	}[cmp.Or(c.Queue.LogLevel, c.Queue.DebugLevel)]
	c.Log.Level = cmp.Or(c.Log.Level, fallback, "info")
	if c.Log.Format == "auto" {
		c.Log.Format = "console"
		if c.Queue.EndpointID != "" {
			c.Log.Format = "json"
		}
	}
}

// contradictions returns the faults that no variable has on its own.
func (c *Config) contradictions() (faults []error) {
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	b, w := &c.Bucket, &c.Watch
	refuse(b.Endpoint != "" && b.AccessKeyID.Empty(),
		"BUCKET_ACCESS_KEY_ID: not set, but required with BUCKET_ENDPOINT_URL")
	refuse(b.Endpoint != "" && b.SecretAccessKey.Empty(),
		"BUCKET_SECRET_ACCESS_KEY: not set, but required with BUCKET_ENDPOINT_URL")
	refuse(!c.Queue.TakeURL.Empty() && c.Queue.DoneURL.Empty(),
		"RUNPOD_WEBHOOK_POST_OUTPUT: not set, but required with RUNPOD_WEBHOOK_GET_JOB: results would have nowhere to go")
	refuse(c.Comfy.CPU && c.Comfy.GPUCheck == "required",
		"GPU_CHECK=required: contradicts COMFY_CPU=true; unset one of them")
	refuse(w.Grace >= w.StopBudget,
		"COMFY_STOP_GRACE=%v: want less than STOP_BUDGET, which is %v", w.Grace, w.StopBudget)
	refuse(w.Backoff > w.BackoffMax,
		"RESTART_BACKOFF=%v: want no more than RESTART_BACKOFF_MAX, which is %v", w.Backoff, w.BackoffMax)
	refuse(!strings.HasPrefix(c.API.HealthPath, "/"),
		"HEALTH_CHECK_PATH=%s: want a path that begins with /", c.API.HealthPath)
	faults = append(faults, c.sharedPorts()...)
	if argv, err := comfyArgv(*c); err == nil {
		port := flagValue(argv, "--port")
		refuse(port != strconv.Itoa(c.Comfy.Port),
			"COMFY_PORT=%d: COMFY_COMMAND or COMFY_EXTRA_ARGS has --port %s; leave that flag out and set COMFY_PORT", c.Comfy.Port, port)
	}
	return faults
}

// sharedPorts returns a fault for each port that two listeners would take.
func (c *Config) sharedPorts() (faults []error) {
	taken := make(map[string]string)
	instances, _ := strconv.Atoi(c.Comfy.Instances) // auto is not known yet
	for i := range max(1, instances) {
		taken[strconv.Itoa(c.Comfy.Port+i)] = "COMFY_PORT"
	}
	if last := c.Comfy.Port + instances - 1; last > math.MaxUint16 {
		faults = append(faults, fmt.Errorf("COMFY_PORT=%d: leaves no ports for %d ComfyUIs (COMFY_INSTANCES)", c.Comfy.Port, instances))
	}
	claim := func(name, port string) {
		if other, ok := taken[port]; ok {
			faults = append(faults, fmt.Errorf("%s: port %s is that of %s too; give them different ones", name, port, other))
		}
		taken[port] = name
	}
	if c.General.Local {
		claim("API_PORT", strconv.Itoa(c.API.Port))
	}
	if c.balanced() {
		api, health := c.balancedPorts()
		claim("PORT", strconv.Itoa(api))
		if health != api {
			claim("PORT_HEALTH", strconv.Itoa(health))
		}
	}
	if i := strings.LastIndexByte(c.Log.StatusAddr, ':'); c.Log.StatusAddr[i+1:] != "0" {
		claim("STATUS_ADDR", c.Log.StatusAddr[i+1:])
	}
	return faults
}

// template is BUCKET_KEY_TEMPLATE in the folder BUCKET_PREFIX.
func (b BucketConfig) template() string {
	if prefix := strings.Trim(b.Prefix, "/"); prefix != "" {
		return prefix + "/" + b.KeyTemplate
	}
	return b.KeyTemplate
}

// lookup returns the value of a variable in a list of NAME=value.
func lookup(environ []string, name string) string {
	for _, s := range environ {
		if value, ok := strings.CutPrefix(s, name+"="); ok {
			return value
		}
	}
	return ""
}
