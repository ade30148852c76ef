package comfytest

import (
	"slices"
	"strconv"
	"strings"
)

// The two versions whose behaviour was recorded.
const (
	V0364 = "0.3.64"
	V0330 = "0.33.0"
)

// A generation is what differs between versions of ComfyUI, one field for
// each thing that a client can see, named for the newer behaviour.
type generation struct {
	version string

	uuidPromptIDs   bool // 0.25: any other prompt id is refused with 400
	jobsAPI         bool // 0.6: GET /api/jobs
	cancelRoutes    bool // 0.26: POST /api/jobs/{id}/cancel
	missingNodeType bool // 0.12: missing_node_type in place of invalid_prompt
	cycleErrors     bool // 0.20: dependency_cycle in place of an empty refusal
	nullInputs500   bool // inputs: null ends in 500 in place of a node error
	keysApart       bool // 0.3.68: API keys are kept out of /queue
	ownOutputs      bool // 0.3.68: a failed prompt lists no unreached cached outputs
	createTime      bool // 0.3.69: extra_data.create_time is the server's
	throttled       bool // 0.9.2: progress at most every 100 ms
	jailed          bool // 0.28: inputs and outputs stay inside their directories
	forcedDownload  bool // 0.28: /view sends html, js, css, svg and xml as attachments
	fetchSite       bool // 0.19: Sec-Fetch-Site: cross-site is refused
	strictInterrupt bool // 0.20: nodes cannot swallow an interrupt
	keepsOlder      bool // 0.23: the cache may keep results of older prompts
	coloredLog      bool // 0.23: [LEVEL] and colours before each log line
	portInUseLine   bool // 0.21: one plain line when the port is taken
	newNodes        bool // SaveText, Save3DAdvanced; audio without the trailing _
}

// generationOf returns the generation of a version. Versions between and
// after the recorded ones behave like the nearest older one in each respect.
func generationOf(version string) generation {
	own := numbers(version)
	at := func(min string) bool { return slices.Compare(own, numbers(min)) >= 0 }
	return generation{
		version:         version,
		uuidPromptIDs:   at("0.25"),
		jobsAPI:         at("0.6"),
		cancelRoutes:    at("0.26"),
		missingNodeType: at("0.12"),
		cycleErrors:     at("0.20"),
		nullInputs500:   at("0.20"),
		keysApart:       at("0.3.68"),
		ownOutputs:      at("0.3.68"),
		createTime:      at("0.3.69"),
		throttled:       at("0.9.2"),
		jailed:          at("0.28"),
		forcedDownload:  at("0.28"),
		fetchSite:       at("0.19"),
		strictInterrupt: at("0.20"),
		keepsOlder:      at("0.23"),
		coloredLog:      at("0.23"),
		portInUseLine:   at("0.21"),
		newNodes:        at("0.28"),
	}
}

// numbers are those of a dotted version; what is not a number counts as 0.
func numbers(version string) []int {
	n := make([]int, 0, 4)
	for part := range strings.SplitSeq(version, ".") {
		i, _ := strconv.Atoi(part)
		n = append(n, i)
	}
	return n
}
