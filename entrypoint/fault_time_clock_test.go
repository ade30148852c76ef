package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wallClock is where the clock on the wall may be read, and what for. Anywhere
// else time is measured with the monotonic reading of time.Now, which these calls
// and methods lose.
var wallClock = map[string]string{
	"worker/leftover.go ModTime":          "how old a file is that a former process left",
	"internal/s3store/key.go UTC":         "the date in the key of an object",
	"internal/runpod/errors.go ParseTime": "Retry-After as a date",

	"internal/console/wire.go UnixMilli":        "when something happened, for people",
	"internal/localapi/list.go UnixMilli":       "when a job was made, begun and ended, for people",
	"internal/localapi/journalfile.go UnixNano": "the name of a file that is set aside",
	"internal/webhook/webhook.go Unix":          "the timestamp that is signed",
}

// losesMonotonic are the methods of time.Time, and functions, that give a time
// without a monotonic reading.
var losesMonotonic = []string{
	"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC", "Local", "GobEncode", "MarshalJSON",
	"Date", "ParseTime", "ModTime",
}

// No interval, deadline or age depends on the clock on the wall, which may jump: each use of it in the program is one of a few that are named with their reason.
func TestFault_T1_IntervalsAreMonotonic(t *testing.T) {
	t.Parallel()
	unseen := make(map[string]bool)
	for use := range wallClock {
		unseen[use] = true
	}
	for _, use := range wallClockUses(t, "..") {
		delete(unseen, use.key)
		if wallClock[use.key] == "" {
			t.Errorf("%s: %s reads the clock on the wall: measure with time.Since, or name the reason in wallClock", use.at, use.key)
		}
	}
	for use := range unseen {
		t.Errorf("%s is allowed, but there is no such use", use)
	}
}

// The twin: a deadline that is kept as a number of seconds is found.
func TestFault_T1_TwinWallClockIsFound(t *testing.T) {
	t.Parallel()
	source := `package p; import "time"; func late(due int64) bool { return time.Now().Unix() > due || time.Now().Round(0).IsZero() }`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := wallClockCalls(file); len(got) != 2 {
		t.Errorf("found %d uses, want 2", len(got))
	}
}

// A use is a call that loses the monotonic reading.
type use struct{ key, at string }

func wallClockUses(t *testing.T, root string) (all []use) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(filepath.ToSlash(path), root+"/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(testOnly, name) || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		for _, call := range wallClockCalls(file) {
			all = append(all, use{name + " " + call.Sel.Name, fmt.Sprint(set.Position(call.Pos()))})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wallClockCalls finds the calls in a file, by their names.
func wallClockCalls(file *ast.File) (calls []*ast.SelectorExpr) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		stripped := selector.Sel.Name == "Round" && len(call.Args) == 1 && isZero(call.Args[0])
		parsed := selector.Sel.Name == "Parse" && isNamed(selector.X, "time")
		if stripped || parsed || slices.Contains(losesMonotonic, selector.Sel.Name) {
			calls = append(calls, selector)
		}
		return true
	})
	return calls
}

func isZero(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == "0"
}

func isNamed(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
