package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/comfyvisor/comfyvisor/"

// mayImport is the import graph of ARCHITECTURE.md: what each package may import
// of ours.
var mayImport = map[string][]string{
	"entrypoint": {"health", "supervisor", "worker", "internal/cli", "internal/comfy", "internal/convert", "internal/console", "internal/doctor", "internal/event", "internal/fetch", "internal/job", "internal/localapi",
		"internal/nodeinfo", "internal/payload", "internal/runpod", "internal/s3store", "internal/secret", "internal/status", "internal/webhook", "internal/volume"},
	"worker":             {"health", "internal/comfy", "internal/convert", "internal/fetch", "internal/gpuerror", "internal/job", "internal/media", "internal/nodeinfo", "internal/payload", "internal/spool"},
	"supervisor":         {},
	"health":             {},
	"internal/cli":       {"internal/jobclient", "internal/nodeinfo"},
	"internal/jobclient": {},
	"internal/comfy":     {},
	"internal/console":   {"docs", "internal/event"},
	"docs":               {},
	"internal/convert":   {"internal/vp8"},
	"internal/event":     {},
	"internal/fetch":     {"internal/spool"},
	"internal/gpuerror":  {},
	"internal/job":       {},
	"internal/media":     {},
	"internal/nodeinfo":  {},
	"internal/secret":    {},
	"internal/spool":     {},
	"internal/status":    {},
	"internal/volume":    {},
	"internal/vp8":       {},
	"internal/doctor":    {"health", "internal/s3store", "internal/volume"},
	"internal/payload":   {"internal/job"},
	"internal/runpod":    {"internal/job", "internal/payload", "internal/spool"},
	"internal/localapi":  {"internal/job", "internal/payload", "internal/webhook"},
	"internal/webhook":   {"internal/fetch", "internal/payload"},
	"internal/s3store":   {"internal/job"},
	// Simulators and helpers of tests, and what is run beside the program.
	"internal/comfytest":           {},
	"internal/comfytest/fakecomfy": {"internal/comfytest"},
	"internal/conntest":            {},
	"internal/runpodtest":          {},
	"internal/s3test":              {},
	"internal/simulation":          {},
	"examples/demo":                {},
}

// testOnly are the packages that are no part of the program.
var testOnly = []string{"internal/comfytest", "internal/comfytest/fakecomfy", "internal/conntest", "internal/runpodtest", "internal/s3test", "internal/simulation", "examples/demo"}

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestImportGraph(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in the graph: give it a place in ARCHITECTURE.md and here", name)
			continue
		}
		for _, i := range p.Imports {
			if ours, is := strings.CutPrefix(i, module); is && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which the graph does not allow", name, ours)
			}
		}
		if slices.Contains(testOnly, name) {
			continue
		}
		if slices.Contains(p.Imports, "os/exec") && name != "supervisor" {
			t.Errorf("%s imports os/exec: only supervisor starts processes", name)
		}
		if slices.Contains(p.Imports, "os/signal") && name != "supervisor" && name != "entrypoint" {
			t.Errorf("%s imports os/signal: only entrypoint and supervisor know signals", name)
		}
	}
}

// Only entrypoint reads the environment.
func TestOnlyEntrypointReadsTheEnvironment(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("grep", "-rnE", `os\.(Getenv|LookupEnv|Environ)\(`, "..", "--include=*.go").Output()
	if err != nil {
		t.Fatalf("grep: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		file, _, _ := strings.Cut(strings.TrimPrefix(line, "../"), ":")
		ours := strings.HasPrefix(file, "entrypoint/") || strings.HasSuffix(file, "_test.go") ||
			slices.ContainsFunc(testOnly, func(dir string) bool { return strings.HasPrefix(file, dir+"/") })
		if !ours {
			t.Errorf("%s", strings.TrimSpace(line))
		}
	}
}
