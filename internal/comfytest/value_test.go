package comfytest

import (
	"math"
	"testing"
)

func TestEncodeWritesLikePython(t *testing.T) {
	tests := []struct {
		in   any
		want string
	}{
		{obj("b", 1, "a", []any{true, nil, "x"}), `{"b": 1, "a": [true, null, "x"]}`},
		{"ü 日 😀 \"\\\n\x00", `"\u00fc \u65e5 \ud83d\ude00 \"\\\n\u0000"`},
		{"a\xffb", `"a\ufffdb"`},
		{4.0, "4.0"},
		{0.1, "0.1"},
		{1e22, "1e+22"},
		{math.NaN(), "NaN"},
		{math.Inf(-1), "-Infinity"},
		{[]any{}, "[]"},
		{(*object)(nil), "null"},
	}
	for _, tt := range tests {
		got, err := encode(tt.in)
		if err != nil || string(got) != tt.want {
			t.Errorf("encode(%v) = %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := encode(struct{}{}); err == nil {
		t.Error("encode took a value that JSON does not know")
	}
}

func TestDecodeKeepsOrderAndDigits(t *testing.T) {
	const text = `{"9": {"z": 18446744073709551615, "a": 1.50}, "1": [null, "é"]}`
	v, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := encode(v)
	if want := `{"9": {"z": 18446744073709551615, "a": 1.50}, "1": [null, "\u00e9"]}`; err != nil || string(got) != want {
		t.Errorf("decoded and encoded: %s, %v", got, err)
	}
	for _, bad := range []string{``, `{`, `{} {}`, `[1,]`} {
		if v, err := decode([]byte(bad)); err == nil {
			t.Errorf("decode(%q) = %v", bad, v)
		}
	}
}

func TestFaultTurns(t *testing.T) {
	var b faultbook
	b.set(Faults{{On: "GET /view", Skip: 1, Count: 2, Do: "a"}, {On: "/history/*", Do: "b"}, {On: "ws", Do: "c"}, {On: "*", Do: "d"}})
	tests := []struct{ occasion, want string }{
		{"GET /view", "d"}, {"GET /view", "a"}, {"GET /view", "a"}, {"GET /view", "d"},
		{"GET /history/a/b", "b"}, {"DELETE /history/x", "b"}, {"POST /view", "d"}, {"ws", "c"}, {"prompt", ""},
	}
	for i, tt := range tests {
		if f, _ := b.next(tt.occasion); f.Do != tt.want {
			t.Errorf("%d: %s: got %q, want %q", i, tt.occasion, f.Do, tt.want)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		version            string
		uuid, cancel, jobs bool
	}{{"0.3.64", false, false, false}, {"0.6.0", false, false, true}, {"0.24.9", false, false, true}, {"0.25.0", true, false, true}, {"0.46.0", true, true, true}} {
		g := generationOf(tt.version)
		if g.uuidPromptIDs != tt.uuid || g.cancelRoutes != tt.cancel || g.jobsAPI != tt.jobs {
			t.Errorf("%s: %+v", tt.version, g)
		}
	}
}
