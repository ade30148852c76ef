package comfy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func TestNullNaN(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"no float at all", `{"a":[1,"x"]}`, `{"a":[1,"x"]}`},
		{"all three", `[NaN, Infinity, -Infinity]`, `[null, null, null]`},
		{"in strings", `["NaN","\"NaN","-Infinity \\"]`, `["NaN","\"NaN","-Infinity \\"]`},
		{"as keys and values", `{"NaN":NaN}`, `{"NaN":null}`},
		{"negative number", `[-1, - 2]`, `[-1, - 2]`},
		{"only a part", `[Na, Inf, -I]`, `[Na, Inf, -I]`},
		{"string without end", `["NaN`, `["NaN`},
		{"escape without end", `["\`, `["\`},
		{"alone", `NaN`, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, changed := nullNaN([]byte(tt.in))
			if string(got) != tt.want || changed != (tt.in != tt.want) {
				t.Errorf("nullNaN(%s) = %s, %t; want %s", tt.in, got, changed, tt.want)
			}
		})
	}
}

func TestWholePairs(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", `["a\n\u00e9"]`, `["a\n\u00e9"]`},
		{"a pair", `["\ud83d\ude00"]`, `["\ud83d\ude00"]`},
		{"upper case", `["\uD83D\uDE00 \uD83D"]`, `["\uD83D\uDE00 \ufffd"]`},
		{"first half alone", `["\ud83d x"]`, `["\ufffd x"]`},
		{"second half alone", `["\ude00"]`, `["\ufffd"]`},
		{"halves in the wrong order", `["\ude00\ud83d"]`, `["\ufffd\ufffd"]`},
		{"a half before a pair", `["\ud83d\ud83d\ude00"]`, `["\ufffd\ud83d\ude00"]`},
		{"behind an escaped backslash", `["\\ud83d"]`, `["\\ud83d"]`},
		{"escape without end", `["\ud83`, `["\ud83`},
		{"backslash at the end", `["\`, `["\`},
		{"nothing", ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			if got := string(wholePairs(in)); got != tt.want || string(in) != tt.in {
				t.Errorf("wholePairs(%s) = %s, want %s; the input is now %s", tt.in, got, tt.want, in)
			}
		})
	}
}

// What is whole stays as it is for encoding/json, and a second look changes
// nothing.
func FuzzWholePairs(f *testing.F) {
	for _, seed := range []string{`["\ud83d\ude00"]`, `"\ude00"`, `"\\ud83d"`, `{"\ud83d":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		clean := wholePairs(data)
		var before, after any
		errBefore, errAfter := json.Unmarshal(data, &before), json.Unmarshal(clean, &after)
		if (errBefore == nil) != (errAfter == nil) || !reflect.DeepEqual(before, after) {
			t.Errorf("%q reads as %v (%v), then as %v (%v)", data, before, errBefore, after, errAfter)
		}
		if again := wholePairs(clean); !bytes.Equal(again, clean) {
			t.Errorf("%q is not clean: %q", clean, again)
		}
	})
}

func TestDecodeIgnoresWrongTypes(t *testing.T) {
	var v struct {
		A int
		B string
		C []string
	}
	if err := decode([]byte(`{"A":"text","C":{},"B":"kept"}`), &v); err != nil {
		t.Fatal(err)
	}
	if v.B != "kept" || v.A != 0 || v.C != nil {
		t.Errorf("got %+v, want only B", v)
	}
	if err := decode([]byte(`{"A":`), &v); err == nil {
		t.Error("a document without end was accepted")
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{{"short", 5, "short"}, {"longer", 4, "long…"}, {"aéé", 2, "a…"}, {"\x80\x80\x80", 2, "…"}} {
		if got := cut(tt.in, tt.n); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}

func FuzzNullNaN(f *testing.F) {
	for _, seed := range []string{`{"a":NaN}`, `[-Infinity,"NaN\\",Infinity]`, `"\"`, `{"x":[1,-NaN]}`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		clean, changed := nullNaN(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
		if json.Valid(in) && changed {
			t.Fatalf("valid JSON %q became %q", in, clean)
		}
		if again, changed := nullNaN(clean); changed {
			t.Fatalf("%q still had something to replace: %q", clean, again)
		}
		var v any
		_ = decode(in, &v)
	})
}
