package comfy

import (
	"bytes"
	"encoding/json"
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
