package status

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

const (
	document  = "../../docs/metrics.md"
	dashboard = "../../deploy/grafana/comfyvisor.json"
)

// described are the metrics of ours: labels and help by name.
func described(t *testing.T) map[string][2]string {
	t.Helper()
	m := NewMetrics("v1")
	m.Queue(func() int { return 0 })
	descs := make(chan *prometheus.Desc, 1024)
	m.registry.Describe(descs)
	close(descs)
	parts := regexp.MustCompile(`^Desc\{fqName: "(comfyvisor_\w+)", help: "(.*?)", (?:unit: "[^"]*", )?constLabels: \{\}, variableLabels: \{([^}]*)\}`)
	all := make(map[string][2]string)
	for d := range descs {
		if found := parts.FindStringSubmatch(d.String()); found != nil {
			all[found[1]] = [2]string{strings.ReplaceAll(found[3], ",", ", "), found[2]}
		}
	}
	if len(all) < 15 {
		t.Fatalf("%d metrics are described", len(all))
	}
	return all
}

// The document of the metrics is that of the program.
func TestMetricsDocument(t *testing.T) {
	before, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- written by make docs -->\n", "<!-- to here -->"
	head, rest, found := strings.Cut(string(before), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s lacks the lines between which the table stands", document)
	}
	var table strings.Builder
	table.WriteString("| metric | labels | what |\n|---|---|---|\n")
	all := described(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, all[name][0], all[name][1])
	}
	want := head + begin + table.String() + end + tail
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(before), want); diff != "" {
		t.Errorf("%s differs, run make docs (-is +should be):\n%s", document, diff)
	}
}

// Whatever the dashboard asks for is there to be asked for.
func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title  string
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	all, asked := described(t), make(map[string]bool)
	names := regexp.MustCompile(`comfyvisor_\w+`)
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			found := names.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q: %q", p.Title, target.Expr)
			}
			for _, name := range found {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if base, is := strings.CutSuffix(name, suffix); is {
						name = base
					}
				}
				asked[name] = true
				if _, there := all[name]; !there {
					t.Errorf("panel %q asks for %s, which does not exist", p.Title, name)
				}
			}
		}
	}
	for name := range all {
		if !asked[name] && name != "comfyvisor_build_info" {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// Profiles are there only where somebody asked for them.
func TestProfilesAreThereOnlyWhenAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		s := sources()
		s.Profile = asked
		code, body := get(t, s, "/debug/pprof/goroutine?debug=1")
		if is := code == http.StatusOK && strings.Contains(body, "goroutine profile"); is != asked {
			t.Errorf("asked for %v: %d %.80q", asked, code, body)
		}
	}
}
