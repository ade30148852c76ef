package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every cause that a failure can have stands in the document, and in one place.
func TestDocumentListsEveryCause(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	causes := []string{
		CauseBadInput, CauseDownload, CauseUpload, CauseInvalid, CauseNode, CauseGPUMemory, CauseInterrupted, CauseTimeout, CauseCanceled,
		CauseCrashed, CauseOOMKilled, CauseHung, CauseBoot, CauseStalled, CausePoisoned, CauseUnreachable, CauseHistory,
		CauseOutput, CausePath, CauseDisk, CauseTooLarge, CauseTooMany, CauseStore, CauseShutdown, CausePanic, CauseInternal,
	}
	for _, cause := range causes {
		if n := strings.Count(string(raw), "\n| `"+cause+"` |"); n != 1 {
			t.Errorf("cause %s has %d rows in docs/errors.md, want 1", cause, n)
		}
	}
}
