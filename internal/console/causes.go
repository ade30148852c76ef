package console

import (
	"bytes"
	"encoding/json"
	"strings"
)

// causesFile is the script that tells what failed and what to do.
const causesFile = "causes.js"

// causesOf makes it from the table of docs/errors.md: by cause, what happened,
// in short, and what to do.
func causesOf(document string) []byte {
	all := make(map[string][2]string)
	for line := range strings.Lines(document) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		happened := plain(cells[2])
		if end := strings.IndexAny(happened, ",.;:"); end > 0 {
			happened = happened[:end]
		}
		all[plain(cells[0])] = [2]string{happened, plain(cells[3])}
	}
	var b bytes.Buffer
	b.WriteString("export const causes = ")
	_ = json.NewEncoder(&b).Encode(all) // texts can be encoded, and a buffer written to
	return b.Bytes()
}

func plain(cell string) string { return strings.TrimSpace(strings.ReplaceAll(cell, "`", "")) }
