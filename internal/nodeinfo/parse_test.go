package nodeinfo

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func parse(t testing.TB, text string) *Info {
	t.Helper()
	info, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestParseReadsListsInBothShapes(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"list", `[["a","b"]]`, []string{"a", "b"}},
		{"list with options", `[["a"],{"default":"a","tooltip":"upload nothing"}]`, []string{"a"}},
		{"empty list", `[[]]`, []string{}},
		{"newer shape", `["COMBO",{"options":["a","b"],"default":"a"}]`, []string{"a", "b"}},
		{"newer shape without options", `["COMBO",{}]`, nil},
		{"newer shape alone", `["COMBO"]`, nil},
		{"another type", `["INT",{"options":["a"]}]`, nil},
		{"numbers", `[[1,2]]`, nil},
		{"numbers among texts", `[["a",2]]`, nil},
		{"null among texts", `[["a",null]]`, nil},
		{"objects", `[[{"content":"a"}]]`, nil},
		{"uploads of images", `[["a"],{"image_upload":true}]`, nil},
		{"uploads of videos", `[["a"],{"video_upload":true}]`, nil},
		{"a list from elsewhere", `["COMBO",{"options":["a"],"remote":{"route":"/x"}}]`, nil},
		{"another list from elsewhere", `["COMBO",{"options":["a"],"remote_combo":{}}]`, nil},
		{"several values", `["COMBO",{"options":["a"],"multi_select":true}]`, nil},
		{"limits that JSON has no number for", `[["a"],{"max":Infinity,"min":-Infinity,"step":NaN}]`, []string{"a"}},
		{"options that are no object", `[["a"],3]`, nil},
		{"no list at all", `{}`, nil},
		{"nothing", `null`, nil},
		{"escapes", `[["\"NaN\\","Infinity \u00e9"]]`, []string{`"NaN\`, "Infinity é"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := `{"K":{"input":{"required":{"x":` + tt.config + `}},"display_name":"Kay"},"L":{"input":{"optional":{"x":` + tt.config + `}}}}`
			for _, info := range []*Info{parse(t, text), parseSlowly(t, text)} {
				if diff := cmp.Diff(tt.want, info.Values("K", "x")); diff != "" {
					t.Errorf("required, want -, got +\n%s", diff)
				}
				if diff := cmp.Diff(tt.want, info.Values("L", "x")); diff != "" {
					t.Errorf("optional, want -, got +\n%s", diff)
				}
				if info.Len() != 2 || info.Title("K") != "Kay" {
					t.Errorf("%d classes, title %q", info.Len(), info.Title("K"))
				}
			}
		})
	}
}

// parseSlowly parses what arrives byte by byte.
func parseSlowly(t *testing.T, text string) *Info {
	t.Helper()
	info, err := Parse(iotest.OneByteReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// One node with an odd description costs no other its own.
func TestParseKeepsWhatItCanOfOddClasses(t *testing.T) {
	info := parse(t, `{"Odd":{"input":[],"display_name":7,"output_node":"yes"},"Null":null,"Text":"x",
		"Good":{"input":{"required":{"x":[["a"]]}}}}`)
	if info.Len() != 4 || len(info.Values("Good", "x")) != 1 {
		t.Errorf("%d classes, good has %q", info.Len(), info.Values("Good", "x"))
	}
}

func TestParseRefusesWhatIsNoListOfNodes(t *testing.T) {
	for _, text := range []string{``, `[]`, `"x"`, `null`, `<html>`, `{`, `{"K":`, `{"K":{"input":{`, `{"K":{}`, `{"K":{},`, `{"K" 1}`} {
		if info, err := Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q passed with %d classes", text, info.Len())
		}
	}
}

// large is an answer with as many classes and models, explanations included. The
// models are listed by one class in fifty.
func large(classes, models int) string {
	var names []string
	for i := range models {
		names = append(names, fmt.Sprintf(`"folder %d/some_model_with_a_long_name-v%d.safetensors"`, i%17, i))
	}
	list := "[" + strings.Join(names, ",") + "]"
	var b strings.Builder
	b.WriteString("{")
	for i := range classes {
		if i > 0 {
			b.WriteString(",")
		}
		loaded := `["MODEL",{}]`
		if i%50 == 0 {
			loaded = `[` + list + `,{"tooltip":"the model"}]`
		}
		fmt.Fprintf(&b, `"SomeNodeOfAPack%d":{"input":{"required":{"model":%s,"positive":["CONDITIONING",{"tooltip":"%s"}],"seed":["INT",{"default":0}],
			"mode":[["fast","slow","mode %d"]],"width":["INT",{"max":Infinity}],"height":["INT",{}],"own%d":["FLOAT",{}]},"optional":{"mask":["MASK"]}},
			"display_name":"Some Node of a Pack %d","python_module":"custom_nodes.pack","output_node":%t}`, i, loaded, strings.Repeat("x", 500), i, i, i, i%20 == 0)
	}
	b.WriteString("}")
	return b.String()
}

// A thousand classes with five thousand models take less than 2 MB.
func TestInfoIsSmall(t *testing.T) {
	text := large(1000, 5000)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	info := parse(t, text)
	size := int64(heap()) - int64(before)
	if info.Len() != 1000 || len(info.Values("SomeNodeOfAPack50", "model")) != 5000 {
		t.Fatalf("%d classes, %d models", info.Len(), len(info.Values("SomeNodeOfAPack50", "model")))
	}
	if size > 2e6 {
		t.Errorf("%d bytes are kept of an answer of %d", size, len(text))
	}
	t.Logf("%d bytes are kept of an answer of %d", size, len(text))
	runtime.KeepAlive(info)
	runtime.KeepAlive(text)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"K":{"input":{"required":{"x":[["a","b"],{"max":Infinity}]},"optional":{"y":["COMBO",{"options":["a"]}]}},"output_node":true}}`,
		`{"KSampler":{"python_module":"nodes","input":{"required":{"x":[[]]}}}}`, `{"K":null}`, `{"K":{"input":[]}}`, `{"a":"\ud800NaN"}`, `{`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		info, err := Parse(strings.NewReader(text))
		if (err == nil) != (info != nil) {
			t.Fatalf("info %v and error %v", info, err)
		}
		if err != nil {
			return
		}
		for name, c := range info.classes {
			for field, list := range c.inputs {
				if got := info.Check(map[string]Node{"1": {Class: name, Inputs: defaults(list, field)}}); len(got) != 0 {
					t.Errorf("a value of the list itself is refused: %+v", got)
				}
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := large(1000, 5000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		parse(b, text)
	}
}
