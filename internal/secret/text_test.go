package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const canary = "canary-4f1d9a/+=&<\"é"

func TestTextIsMaskedInEveryRendering(t *testing.T) {
	type public struct{ Key Text }
	type private struct{ key Text }
	values := map[string]any{
		"value":             New(canary),
		"pointer":           new(Text),
		"exported field":    public{New(canary)},
		"unexported field":  private{New(canary)},
		"slice":             []Text{New(canary)},
		"map":               map[string]Text{"k": New(canary)},
		"slice of structs":  []private{{New(canary)}},
		"wrapped in error":  fmt.Errorf("use %v", New(canary)),
		"pointer to struct": &private{New(canary)},
	}
	for name, v := range values {
		t.Run(name, func(t *testing.T) {
			var shown strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
				fmt.Fprintf(&shown, verb+"\n", v)
			}
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(b)
			shown.WriteString(zapLine(t, zap.Any("key", v)))
			if strings.Contains(shown.String(), "canary") || strings.Contains(shown.String(), "63616e617279") {
				t.Errorf("the secret is shown in:\n%s", shown.String())
			}
		})
	}
}

func zapLine(t *testing.T, field zap.Field) string {
	t.Helper()
	var out bytes.Buffer
	for _, e := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zapcore.EncoderConfig{}),
		zapcore.NewConsoleEncoder(zapcore.EncoderConfig{}),
	} {
		zap.New(zapcore.NewCore(e, zapcore.AddSync(&out), zap.DebugLevel)).Info("", field)
	}
	return out.String()
}

func TestTextRevealsWhatItWasGiven(t *testing.T) {
	var zero Text
	if got := zero.Reveal(); got != "" || !zero.Empty() {
		t.Errorf("zero value reveals %q, empty %t", got, zero.Empty())
	}
	var parsed Text
	if err := parsed.UnmarshalText([]byte(canary)); err != nil {
		t.Fatal(err)
	}
	if parsed.Reveal() != canary || parsed.Empty() {
		t.Errorf("got %q, want %q", parsed.Reveal(), canary)
	}
	if got, want := fmt.Sprint(parsed), "***"; got != want {
		t.Errorf("prints %q, want %q", got, want)
	}
}
