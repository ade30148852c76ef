package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const fuzzCanary = "canary-7c1e5f0b"

// Whatever a variable holds, what may be a secret is in no error, and what is
// accepted makes a configuration that can be started.
func FuzzConfig(f *testing.F) {
	all := variables()
	odd := []string{"-1", "1e9", "9999999999999999999", "12h30m", "365d", "tRuE", "http://x", "https://a:b@c:1/$ID?", "[::]:0", ":", "\"", "\xff\x00", " ", "{job}/../{name}", "auto"}
	for i, v := range all {
		f.Add(i, v.Default)
		f.Add(i, odd[i%len(odd)])
	}
	f.Fuzz(func(t *testing.T, n int, value string) {
		v := all[int(uint(n)%uint(len(all)))]
		if v.hidden() {
			value += fuzzCanary
		}
		cfg, err := configFromEnv([]string{v.Name + "=" + value})
		if err != nil {
			if v.hidden() && strings.Contains(err.Error(), fuzzCanary) {
				t.Errorf("%s: the error shows the value: %v", v.Name, err)
			}
			return
		}
		if argv, err := comfyArgv(cfg); err != nil || len(argv) == 0 {
			t.Errorf("%s=%q is accepted but makes the command %q, %v", v.Name, value, argv, err)
		}
		if cfg.Watch.StopBudget <= 0 || cfg.Queue.PingInterval < time.Second || cfg.Queue.WorkerID == "" {
			t.Errorf("%s=%q makes %+v %+v", v.Name, value, cfg.Watch, cfg.Queue)
		}
	})
}

// Whatever our secrets are and wherever else their values stand, ComfyUI is not
// given them.
func FuzzComfyEnv(f *testing.F) {
	f.Add("secret-0123456789", "MY_COPY", "secret-0123456789", false)
	f.Add(" secret-0123456789 ", "MY_COPY", "x=secret-0123456789;y", true)
	f.Add("a=b=c=d=e", "RUNPOD_X_TOKEN", "", false)
	f.Fuzz(func(t *testing.T, value, name, other string, strict bool) {
		if strings.ContainsAny(value+name+other, "\x00") || strings.Contains(name, "=") || name == "" {
			return // no environment has it
		}
		environ := []string{"RUNPOD_AI_API_KEY=" + value, "BUCKET_SECRET_ACCESS_KEY=" + value, name + "=" + other}
		public, _ := splitSecrets(environ)
		given := comfyEnv(environ, Config{Comfy: ComfyConfig{EnvStrict: strict}}, "")
		kept := strings.TrimSpace(value)
		for _, s := range append(public, given...) {
			if _, shown, _ := strings.Cut(s, "="); len(kept) >= 8 && strings.Contains(shown, kept) {
				t.Errorf("the secret %q is in %q", value, s)
			}
		}
	})
}

// What is handed over in a sealed file is taken over as it was.
func FuzzTakeOver(f *testing.F) {
	f.Add([]byte("A=b\x00C=d\ne"), true)
	f.Add([]byte{}, true)
	f.Add([]byte("\x00\x00=\xff"), false)
	f.Fuzz(func(t *testing.T, content []byte, isSealed bool) {
		file, err := seal(string(content))
		if !isSealed {
			file, err = os.CreateTemp(t.TempDir(), "")
		}
		if err != nil {
			t.Fatal(err)
		}
		number := strconv.Itoa(int(file.Fd()))
		taken, err := takeOver(number)
		if !isSealed {
			if err == nil || file.Close() != nil {
				t.Errorf("a file that is not sealed was taken over: %q", taken)
			}
			return
		}
		var split [][]byte
		for _, s := range taken {
			split = append(split, []byte(s))
		}
		if joined := bytes.Join(split, []byte{0}); err != nil || !bytes.Equal(joined, content) {
			t.Errorf("%q became %q, %v", content, joined, err)
		}
		if err := file.Close(); err == nil {
			t.Error("the file is still open")
		}
	})
}

// A file with a job is one, or the program ends as for a wrong configuration.
func FuzzOneJob(f *testing.F) {
	for _, seed := range []string{`{"input":{"workflow":{}}}`, `{"id":"a","input":"x","s3Config":{}}`, `{"input":null}`, `{"id":7,"input":1}`, `[]`, "\ufeff{}", ``} {
		f.Add([]byte(seed))
	}
	file := filepath.Join(f.TempDir(), "job.json")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := newOneJob(file)
		var coded *exitError
		switch {
		case err == nil && (o.job.ID == "" || len(o.job.Input) == 0):
			t.Errorf("%q became %+v", content, o.job)
		case err != nil && (!errors.As(err, &coded) || coded.code != exitConfig):
			t.Errorf("%q: %v", content, err)
		}
	})
}
