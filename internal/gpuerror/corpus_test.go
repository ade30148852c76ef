package gpuerror

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// An entry is a message as it was seen, or as its source composes it, with the
// verdict that people gave it.
type entry struct {
	ID      string
	Source  string // exception, stderr or kernel
	Type    string
	Message string
	// Verdict is leave, free, restart or host.
	Verdict string
	// Finer is the verdict of this package where it has one more: a restart that
	// asks first is suspect, a leave that counts is unknown, a host that needs no
	// confirmation is lost.
	Finer string
}

func (e entry) want() string {
	if e.Finer != "" {
		return e.Finer
	}
	return e.Verdict
}

func (e entry) judge() Finding {
	if e.Source == "exception" {
		return Exception(e.Type, e.Message)
	}
	var worst Finding
	for line := range strings.Lines(e.Message) {
		f := ProcessLine(line)
		if e.Source == "kernel" {
			f = KernelLine(line, nil)
		}
		if f.Verdict > worst.Verdict {
			worst = f
		}
	}
	return worst
}

func corpus(t testing.TB) []entry {
	t.Helper()
	text, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	if err := json.Unmarshal(text, &entries); err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestCorpus(t *testing.T) {
	coarse := map[string]string{"suspect": "restart", "unknown": "leave", "lost": "host"}
	entries := corpus(t)
	if len(entries) != 215 {
		t.Errorf("the corpus has %d messages, want 215", len(entries))
	}
	for _, e := range entries {
		t.Run(e.ID, func(t *testing.T) {
			if e.Finer != "" && coarse[e.Finer] != e.Verdict {
				t.Errorf("the finer verdict %s is not one of %s", e.Finer, e.Verdict)
			}
			f := e.judge()
			if got := f.Verdict.String(); got != e.want() {
				t.Errorf("%s %s\n%s\ngot %s by %q, want %s", e.Source, e.Type, e.Message, got, f.Phrase, e.want())
			}
			if f.Verdict != Leave && (f.Phrase == "" || f.Why == "") {
				t.Errorf("%s\n%+v does not say why", e.Message, f)
			}
		})
	}
}

// Joining the lines of an exception costs precision, never sense: no look-alike
// may become an error, no poison harmless.
func TestCorpusOnOneLine(t *testing.T) {
	for _, e := range corpus(t) {
		if e.Source != "exception" {
			continue
		}
		t.Run(e.ID, func(t *testing.T) {
			flat := strings.Join(strings.Fields(e.Message), " ")
			f := Exception(e.Type, flat)
			switch {
			case strings.HasPrefix(e.ID, "x-") && f.Verdict != Leave:
				t.Errorf("%s\ngot %s by %q for a look-alike", flat, f.Verdict, f.Phrase)
			case e.Verdict == "restart" && f.Verdict < Suspect && e.ID != "r-illegal-address-dynamo" && e.ID != "r-illegal-address-nccl":
				t.Errorf("%s\ngot %s by %q for a poison", flat, f.Verdict, f.Phrase)
			}
		})
	}
}

// The twin of TestCorpus: words without type, place and end take many messages
// for what they are not, so the corpus does tell a careless reader apart.
func TestLooseWordsFailOnTheCorpus(t *testing.T) {
	loose := func(message string) string {
		switch m := strings.ToLower(message); {
		case strings.Contains(m, "illegal memory access"), strings.Contains(m, "device-side assert"):
			return "restart"
		case strings.Contains(m, "out of memory"):
			return "free"
		}
		return "leave"
	}
	wrong := 0
	for _, e := range corpus(t) {
		if got := loose(e.Message); got != "leave" && got != e.Verdict {
			wrong++
		}
	}
	if wrong < 30 {
		t.Errorf("loose words went wrong on %d messages, want at least 30", wrong)
	}
}
