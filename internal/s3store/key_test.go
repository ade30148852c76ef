package s3store

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

var keyDay = time.Date(2025, 1, 7, 23, 59, 0, 0, time.FixedZone("", -5*3600)) // the 8th in UTC

// Names that come from outside never leave the prefix, never make an unreadable
// or overlong key, and are kept as they are when they do no harm.
func TestFault_S8_KeyInjection(t *testing.T) {
	tests := []struct {
		name, template, job string
		file                job.File
		want                string
	}{
		{name: "documented", job: "sync-uuid-string", file: job.File{Filename: "ComfyUI_00001_.png"}, want: "2025-01-08/sync-uuid-string/ComfyUI_00001_.png"},
		{name: "subfolder", job: "j", file: job.File{Filename: "a.mp4", Subfolder: "video/day 1"}, want: "2025-01-08/j/video/day 1/a.mp4"},
		{name: "every placeholder", template: "p/{date}/{job_id}/{node}-{index}/{name}{ext}={filename}", job: "j", file: job.File{Filename: "a.b.png", Subfolder: "s", Node: "12:3"}, want: "p/2025-01-08/j/12:3-7/s/a.b.png=s/a.b.png"},
		{name: "SDK's form", template: "{job_id}/{index}{ext}", job: "j", file: job.File{Filename: "a.png"}, want: "j/7.png"},
		{name: "leading slash in the template", template: "/x/{job_id}/{filename}", job: "j", file: job.File{Filename: "a"}, want: "x/j/a"},
		{name: "no node", template: "{job_id}/{node}/{filename}", job: "j", file: job.File{Filename: "a"}, want: "j/none/a"},
		{name: "job climbs", job: "../../etc", file: job.File{Filename: "a.png"}, want: "2025-01-08/.._.._etc-74ccf3c5/a.png"},
		{name: "job is dots", job: "..", file: job.File{Filename: "a.png"}, want: "2025-01-08/..-5ec1f7e7/a.png"},
		{name: "name climbs", job: "j", file: job.File{Filename: "../../b.png"}, want: "2025-01-08/j/.._.._b-221da062.png"},
		{name: "subfolder climbs", job: "j", file: job.File{Filename: "b.png", Subfolder: "/../x/./"}, want: "2025-01-08/j/..-5ec1f7e7/x/.-cdb4ee2a/b.png"},
		{name: "query and fragment", job: "a?b#c", file: job.File{Filename: "d?e#f&g=h%2F.png"}, want: "2025-01-08/a?b#c/d?e#f&g=h%2F.png"},
		{name: "line break", job: "a\r\nX-Evil: 1", file: job.File{Filename: "b\x00.png"}, want: "2025-01-08/a__X-Evil: 1-55be3e77/b_-830b7a2f.png"},
		{name: "placeholder in a name", job: "{date}", file: job.File{Filename: "{job_id}.png"}, want: "2025-01-08/{date}/{job_id}.png"},
		{name: "look-alikes and other scripts", job: "j", file: job.File{Filename: "․․／絵.png"}, want: "2025-01-08/j/․․／絵.png"},
		{name: "text direction", job: "j", file: job.File{Filename: "a\u202egnp.exe"}, want: "2025-01-08/j/a_gnp-e278d1f8.exe"},
		{name: "backslash", job: "j", file: job.File{Filename: `..\a.png`}, want: "2025-01-08/j/.._a-e2bdbc6f.png"},
		{name: "broken UTF-8", job: "j", file: job.File{Filename: "a\xff.png"}, want: "2025-01-08/j/a_-e7b144cd.png"},
		{name: "nothing at all", want: "2025-01-08/-e3b0c442/-e3b0c442"},
		{name: "a dot for an extension", template: "{job_id}/{index}/.{ext}", job: "j", file: job.File{Filename: "a."}, want: "j/7/_"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := tt.template
			if template == "" {
				template = DefaultKeyTemplate
			}
			keys, err := parseTemplate(template)
			if err != nil {
				t.Fatal(err)
			}
			if got := keys.key(keyDay, tt.job, 7, tt.file); got != tt.want {
				t.Errorf("key = %q\nwant  %q", got, tt.want)
			}
		})
	}
}

// A key is never longer than the 1,024 bytes that S3 allows, whatever the names.
func TestFault_S8_KeyLength(t *testing.T) {
	keys, err := parseTemplate("{date}/{job_id}/{filename}/{filename}")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	long := strings.Repeat("日", 400)
	for _, file := range []job.File{
		{Filename: long + "1.png"},
		{Filename: long + "2.png"},
		{Filename: "a.png", Subfolder: strings.Repeat("folder/", 200) + "1"},
		{Filename: "a.png", Subfolder: strings.Repeat("folder/", 200) + "2"},
	} {
		key := keys.key(keyDay, long, 0, file)
		if err := keyFault(key, ""); err != "" {
			t.Errorf("key %q: %s", key, err)
		}
		if seen[key] || !strings.HasSuffix(key, ".png") {
			t.Errorf("key %q stands for two files or lost its extension", key)
		}
		seen[key] = true
	}
}

// keyFault says what is wrong with a key, "" if nothing is.
func keyFault(key, prefix string) string {
	switch {
	case len(key) > maxKey:
		return "too long"
	case !utf8.ValidString(key) || strings.ContainsFunc(key, harmful):
		return "harmful characters"
	case path.Clean("/"+key) != "/"+key:
		return "not where it seems to be"
	case !strings.HasPrefix(key, prefix):
		return "outside the prefix " + prefix
	}
	if got, err := url.PathUnescape(escapeKey(key)); err != nil || got != key {
		return "not escaped exactly once: " + escapeKey(key)
	}
	return ""
}

func TestKeysOfDifferentFilesDiffer(t *testing.T) {
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ab.\\\x00]{0,3}`), rapid.StringMatching(`(long){45,60}\.png`))
	rapid.Check(t, func(t *rapid.T) {
		keys, err := parseTemplate("out/{date}/{job_id}/{filename}")
		if err != nil {
			t.Fatal(err)
		}
		draw := func(who string) (string, job.File) {
			id := names.Draw(t, who+" job")
			return id, job.File{Filename: names.Draw(t, who+" name"), Subfolder: names.Draw(t, who+" subfolder")}
		}
		jobA, a := draw("one")
		jobB, b := draw("other")
		keyA, keyB := keys.key(keyDay, jobA, 0, a), keys.key(keyDay, jobB, 1, b)
		if fault := keyFault(keyA, "out/2025-01-08/"); fault != "" {
			t.Fatalf("key %q: %s", keyA, fault)
		}
		same := jobA == jobB && a.Filename == b.Filename && folders(a) == folders(b)
		if same != (keyA == keyB) {
			t.Fatalf("keys %q and %q, the same file: %t", keyA, keyB, same)
		}
	})
}

// folders is a subfolder without the slashes that mean nothing.
func folders(f job.File) string {
	return strings.Join(strings.FieldsFunc(f.Subfolder, func(r rune) bool { return r == '/' }), "/")
}

func FuzzKey(f *testing.F) {
	f.Add("{date}/{job_id}/{filename}", "job", "sub/folder", "a.png", "1", 0)
	f.Add("a/{job_id}{node}.{ext}{index}", "../..", "..", "\x00?#", "12:3", -1)
	f.Add("{job_id}/{name}{ext}", "日", "//", ".", "", 1)
	f.Fuzz(func(t *testing.T, template, id, subfolder, filename, node string, index int) {
		keys, err := parseTemplate(template)
		if err != nil {
			return
		}
		prefix, _, _ := strings.Cut(string(keys), "{")
		prefix = prefix[:strings.LastIndex(prefix, "/")+1]
		key := keys.key(keyDay, id, index, job.File{Filename: filename, Subfolder: subfolder, Node: node})
		if fault := keyFault(key, prefix); fault != "" {
			t.Errorf("key %q of template %q: %s", key, template, fault)
		}
	})
}

func TestTemplateFaultsAreNamed(t *testing.T) {
	for template, want := range map[string]string{
		"{job_id}/{file}":               "unknown placeholder {file}: there are {date}",
		"{job_id}/{filename":            "brace without its partner",
		"{job_id}/{filename}/":          "ends with a slash",
		"a/../{job_id}/{filename}":      ". or .. in it",
		"a//{job_id}/{filename}":        "empty folder",
		"a\n{job_id}/{filename}":        "control character",
		"{filename}":                    "lacks {job_id}",
		"{job_id}/{name}":               "needs {filename}",
		strings.Repeat("x", 513) + "{}": "unknown placeholder {}",
		strings.Repeat("x", 513):        "513 bytes long",
	} {
		if _, err := parseTemplate(template); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "BUCKET_KEY_TEMPLATE") {
			t.Errorf("parseTemplate(%q): %v, want %q in it", template, err, want)
		}
	}
}
