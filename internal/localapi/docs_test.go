package localapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A description is openapi.json, as far as answers are compared with it.
type description struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

var described = sync.OnceValues(func() (*description, error) {
	text, err := docs.ReadFile("docs/openapi.json")
	if err != nil {
		return nil, err
	}
	d := new(description)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d.compiler = jsonschema.NewCompiler()
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	return d, d.compiler.AddResource("openapi.json", doc)
})

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// template is the path of the description that a request's path is one of, ""
// if there is none.
func (d *description) template(path string) string {
	path = regexp.MustCompile(`^/v2/[^/]+`).ReplaceAllString(path, "")
	if _, literally := d.Paths[path]; literally {
		return path
	}
	for t := range d.Paths {
		if regexp.MustCompile("^" + parameter.ReplaceAllString(t, `[^/]+`) + "$").MatchString(path) {
			return t
		}
	}
	return ""
}

// check compares an answer with the description.
func (d *description) check(method, path string, got answer) error {
	path, _, _ = strings.Cut(path, "?")
	t := d.template(path)
	if method == http.MethodHead {
		method, got.body = http.MethodGet, nil
	}
	operation, known := d.Paths[t][strings.ToLower(method)]
	if !known {
		return nil
	}
	response, known := operation.Responses[strconv.Itoa(got.code)]
	if !known {
		return fmt.Errorf("%s %s answers %d, which is not described: %s", method, t, got.code, got.body)
	}
	kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type"))
	content, known := response.Content[kind]
	switch {
	case !known && len(response.Content) == 0 && len(got.body) > 0 && got.code < 300:
		return fmt.Errorf("%s %s answers %d with a body", method, t, got.code)
	case !known && len(response.Content) > 0 && response.Content["*/*"].Schema == nil && !slices.Contains(anyBody, t):
		return fmt.Errorf("%s %s answers %d with %q", method, t, got.code, kind)
	case content.Schema == nil || got.body == nil:
		return nil
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, err := d.compiler.Compile(fmt.Sprintf("openapi.json#/paths/%s/%s/responses/%d/content/application~1json/schema",
		escape.Replace(t), strings.ToLower(method), got.code))
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body))
	if err != nil {
		return err
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s %s answers %d: %w\n%.500s", method, t, got.code, err, got.body)
	}
	return nil
}

// anyBody are the paths whose bodies are of any kind.
var anyBody = []string{"/jobs/{id}/files/{n}"}

// Every route is described, and every description is of a route. That answers are
// as described is checked wherever a test of this package asks for one.
func TestEveryRouteIsDescribed(t *testing.T) {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Restart: func(bool) (string, error) { return "", nil }})
	var routes, descriptions []string
	for _, pattern := range s.patterns {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/v2/") && path != docFiles {
			routes = append(routes, method+" "+path)
		}
	}
	for path, operations := range d.Paths {
		for method := range operations {
			descriptions = append(descriptions, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(descriptions)
	if !slices.Equal(routes, descriptions) {
		t.Errorf("routes\n%v\ndescribed\n%v", strings.Join(routes, "\n"), strings.Join(descriptions, "\n"))
	}
}

// The check of answers finds those that are not as described.
func TestDescriptionRefusesOtherAnswers(t *testing.T) {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	tests := []struct {
		name, method, path string
		code               int
		body               string
		fine               bool
	}{
		{"as described", "POST", "/run", 200, `{"id":"a","status":"IN_QUEUE"}`, true},
		{"below an endpoint", "POST", "/v2/x/run", 200, `{"id":"a","status":"IN_QUEUE"}`, true},
		{"field missing", "POST", "/run", 200, `{"id":"a"}`, false},
		{"strange field", "POST", "/run", 200, `{"id":"a","status":"IN_QUEUE","x":1}`, false},
		{"strange state", "GET", "/status/a", 200, `{"id":"a","status":"DONE"}`, false},
		{"strange code", "GET", "/status/a", 418, `{}`, false},
		{"number for text", "GET", "/jobs", 200, `{"jobs":[{"id":1}],"more":false}`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := d.check(tt.method, tt.path, answer{tt.code, header, []byte(tt.body)}); (err == nil) != tt.fine {
				t.Errorf("check = %v, want none: %v", err, tt.fine)
			}
		})
	}
}

// The page to try the routes on needs nothing from elsewhere and no token.
func TestDocsPage(t *testing.T) {
	a := serve(t, Config{Token: token})
	page := a.want(http.StatusOK, "GET", "/docs", "")
	if strings.Contains(string(page.body), "//") || !strings.Contains(string(page.body), "/docs/swagger-ui-bundle.js") {
		t.Errorf("page = %s", page.body)
	}
	for path, kind := range map[string]string{
		"/docs/": "text/html", "/docs/swagger-ui-bundle.js": "application/javascript", "/docs/swagger-ui.css": "text/css",
		"/docs/start.js": "text/javascript", "/docs/favicon-32x32.png": "image/png", "/openapi.json": "application/json",
	} {
		got := a.want(http.StatusOK, "GET", path, "")
		if !strings.HasPrefix(got.header.Get("Content-Type"), kind) || len(got.body) == 0 {
			t.Errorf("%s is %s, want %s", path, got.header.Get("Content-Type"), kind)
		}
		if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "http") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	a.want(http.StatusNotFound, "GET", "/docs/nothing.js", "")
}
