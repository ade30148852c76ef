package worker

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/convert"
)

func TestParseWanted(t *testing.T) {
	def := convert.Format{Name: convert.WebP, Quality: 70, MaxEdge: 512}
	for raw, want := range map[string]convert.Format{
		``:                                     def,
		`null`:                                 def,
		`{}`:                                   def,
		`{"format":"JPG"}`:                     {Name: convert.JPEG, Quality: 70, MaxEdge: 512},
		`{"format":null,"quality":100}`:        {Name: convert.WebP, Quality: 100, MaxEdge: 512},
		`{"format":"original","max_edge":0}`:   {Name: convert.Original, Quality: 70},
		`{"max_edge":16384,"previews":true}`:   {Name: convert.WebP, Quality: 70, MaxEdge: 16384},
		`{"format":"png","quality":1}`:         {Name: convert.PNG, Quality: 1, MaxEdge: 512},
		"{\"format\":\"webp\",\"quality\":80}": {Name: convert.WebP, Quality: 80, MaxEdge: 512},
	} {
		w, faults := parseWanted(json.RawMessage(raw))
		if got := w.over(def); len(faults) > 0 || got != want {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, faults, want)
		}
		if w.previews != strings.Contains(raw, "true") {
			t.Errorf("%s: previews = %v", raw, w.previews)
		}
	}
}

// Every fault of input.output is named, with what is allowed.
func TestParseWantedNamesEveryFault(t *testing.T) {
	for raw, want := range map[string][]string{
		`"jpeg"`:                            {"input.output is not an object"},
		`[]`:                                {"input.output is not an object"},
		`{"format":"tiff"}`:                 {`input.output.format is "tiff": want one of original, jpeg, png, webp`},
		`{"format":1,"quality":0}`:          {"input.output.format is 1", "input.output.quality is 0: want a whole number from 1 to 100"},
		`{"quality":101,"max_edge":-1}`:     {"input.output.quality is 101", "input.output.max_edge is -1: want a whole number from 0 to 16384"},
		`{"quality":1.5,"max_edge":"9"}`:    {"input.output.quality is 1.5", `input.output.max_edge is "9"`},
		`{"previews":"yes","qualty":90}`:    {`input.output.previews is "yes": want true or false`, "input.output.qualty is not known"},
		`{"max_edge":99999999999999999999}`: {"input.output.max_edge is 99999999999999999999"},
	} {
		_, faults := parseWanted(json.RawMessage(raw))
		text := ""
		if err := errors.Join(faults...); err != nil {
			text = err.Error()
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q lacks %q", raw, text, w)
			}
		}
		if len(faults) != len(want) {
			t.Errorf("%s: %d faults: %s", raw, len(faults), text)
		}
	}
}
