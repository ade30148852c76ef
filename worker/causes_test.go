package worker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// causesIn are the causes that the code of a package can give to a failure: its
// constants called CauseX, and what it writes into a field or variable of that name.
func causesIn(t *testing.T, dir string) (causes []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	add := func(value ast.Expr) {
		if text, ok := value.(*ast.BasicLit); ok && text.Kind == token.STRING {
			cause, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			causes = append(causes, cause)
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if strings.HasPrefix(name.Name, "Cause") && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.KeyValueExpr:
				if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Cause" {
					add(n.Value)
				}
			}
			return true
		})
	}
	return causes
}

// causeRow is a row of the table of causes: its cause, and what to do.
var causeRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| \\w+ \\| .+ \\| (.+) \\|$")

// Every cause that the code can give stands in the document once and with what to do,
// and nothing else stands there.
func TestDocumentListsEveryCause(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]int)
	for _, row := range causeRow.FindAllStringSubmatch(string(raw), -1) {
		rows[row[1]]++
	}
	given := make(map[string]bool)
	for _, dir := range []string{".", "../internal/runpod", "../internal/localapi", "../entrypoint"} {
		for _, cause := range causesIn(t, dir) {
			given[cause] = true
		}
	}
	if len(given) < 25 {
		t.Fatalf("only %d causes were found in the code: %v", len(given), given)
	}
	for cause := range given {
		if rows[cause] != 1 {
			t.Errorf("cause %s has %d rows in docs/errors.md, want 1", cause, rows[cause])
		}
		delete(rows, cause)
	}
	for cause := range rows {
		t.Errorf("docs/errors.md explains %s, which no code gives", cause)
	}
}
