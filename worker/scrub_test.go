package worker

import (
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A key that a node was given and puts into its error does not get into the result: neither into its message nor into its details.
func TestFault_X3_FailureTellsNoSecret(t *testing.T) {
	const key = "canary_0123456789"
	raise := simulated("SimRaise", `{"message":"401 for `+key+`"}`)
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Scrub = func(text string) string { return strings.ReplaceAll(text, key, "***") }
	})
	d := p.do("a", raise)
	d.wantCause(t, CauseNode)
	if strings.Contains(string(d.body), key) || !strings.Contains(string(d.body), "401 for ***") {
		t.Errorf("result = %s", d.body)
	}
	p = startPod(t, comfytest.Config{}, nil) // the twin
	if d := p.do("b", raise); !strings.Contains(string(d.body), key) {
		t.Errorf("without Scrub the result is %s", d.body)
	}
}
