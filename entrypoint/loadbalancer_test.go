package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// statusAt asks for a URL and returns the status code, 0 if nobody answers.
func statusAt(url string) int {
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// A pod behind a load balancer answers 204 to health checks while ComfyUI
// starts and 200 from then on, without a token, and runs jobs for those who have
// it.
func TestLoadBalancedEndpoint(t *testing.T) {
	t.Parallel()
	const token = "balanced-token-0123456789"
	tests := []struct {
		name, path string
		apart      bool // the health check has a port of its own
	}{
		{"one port", "", false},
		{"two ports", "", true},
		{"another path", "/healthz/ready", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			health := port
			env := map[string]string{"PORT": port, "API_TOKEN": token, "SIMCOMFY_BOOT": "3s"}
			if tt.apart {
				health = freePort(t)
				env["PORT_HEALTH"] = health
			}
			path := "/ping"
			if tt.path != "" {
				path = tt.path
				env["HEALTH_CHECK_PATH"] = path
			}
			p := start(t, options{env: env})
			check := "http://127.0.0.1:" + health + path
			p.wait("a first answer", func() bool { return statusAt(check) != 0 })
			if got := statusAt(check); got != http.StatusNoContent {
				t.Errorf("while ComfyUI starts the health check is answered %d, want 204", got)
			}
			p.waitReady()
			p.wait("the pod is ready", func() bool { return statusAt(check) == http.StatusOK })

			p.api = "http://127.0.0.1:" + port
			if got := statusAt(p.api + "/health"); got != http.StatusUnauthorized {
				t.Errorf("a request without the token is answered %d, want 401", got)
			}
			req, err := http.NewRequest(http.MethodPost, p.api+"/runsync", strings.NewReader(`{"input":`+picture(1)+`}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var a answer
			if p.read(resp, &a); a.Status != "COMPLETED" || len(a.Output.Images) != 1 {
				t.Errorf("job: %+v", a)
			}
			p.signal(syscall.SIGTERM)
			if code := p.exit(); code != exitDone {
				t.Errorf("exit code = %d, want %d", code, exitDone)
			}
		})
	}
}

// PORT means nothing to a pod that has a queue.
func TestQueueComesBeforeTheLoadBalancer(t *testing.T) {
	t.Parallel()
	cfg, err := configFromEnv([]string{"PORT=8188", "RUNPOD_WEBHOOK_GET_JOB=http://x.test", "RUNPOD_WEBHOOK_POST_OUTPUT=http://x.test"})
	if err != nil || cfg.balanced() {
		t.Errorf("balanced %v, %v", cfg.balanced(), err)
	}
}

func TestLoadBalancerIsConfigured(t *testing.T) {
	tests := []struct{ name, env, fault string }{
		{"health port alone", "PORT_HEALTH=9000", ""},
		{"ComfyUI's port", "PORT=8188", "PORT: port 8188 is that of COMFY_PORT too"},
		{"status port", "PORT=9000 PORT_HEALTH=8001", "STATUS_ADDR: port 8001 is that of PORT_HEALTH too"},
		{"path", "PORT=9000 HEALTH_CHECK_PATH=ping", "HEALTH_CHECK_PATH=ping: want a path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := configFromEnv(strings.Fields(tt.env))
			if tt.fault == "" {
				if err != nil || !cfg.balanced() {
					t.Errorf("balanced %v, %v", cfg.balanced(), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %v, want %q", err, tt.fault)
			}
		})
	}
}
