package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A proof is a test that shows that a fault is survived.
type proof struct {
	letter string // the kind of fault
	number int
	name   string // of the test
	dir    string // of its package
	says   string // the behaviour, as the test's comment tells it
}

var proofName = regexp.MustCompile(`^TestFault_([A-Z])(\d+)_`)

// faultKinds are the letters of the rows, in the order of the document.
var faultKinds = []struct{ letter, title string }{
	{"P", "PID 1 and signals"},
	{"C", "ComfyUI's process"},
	{"L", "Readiness and liveness"},
	{"W", "ComfyUI's WebSocket"},
	{"H", "ComfyUI's HTTP"},
	{"J", "Taking jobs"},
	{"R", "Delivering results"},
	{"S", "S3"},
	{"A", "The local API"},
	{"V", "Inputs"},
	{"Z", "Resources"},
	{"T", "Time and names"},
	{"X", "Security"},
}

// proofs finds the tests in the whole module.
func proofs(t *testing.T) []proof {
	t.Helper()
	var all []proof
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			match := proofName.FindStringSubmatch(f.Name.Name)
			if match == nil {
				continue
			}
			number, _ := strconv.Atoi(match[2])
			all = append(all, proof{
				letter: match[1], number: number, name: f.Name.Name,
				dir:  strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../"),
				says: strings.Join(strings.Fields(f.Doc.Text()), " "),
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b proof) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
	})
	return all
}

// docs/faults.md lists what is promised and which test proves it.
func TestFaultsDocument(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# What comfyvisor survives

Each line is a promise and the test that proves it, by injecting the fault for
real: killed processes, cut connections, full disks, dead queues. The letters are
kinds of faults, the numbers tell them apart. This file is made from the tests'
own comments by ` + "`make docs`" + `.
`)
	all := proofs(t)
	for _, kind := range faultKinds {
		fmt.Fprintf(&b, "\n## %s: %s\n\n| | what must happen | proof |\n|---|---|---|\n", kind.letter, kind.title)
		for _, p := range all {
			if p.letter == kind.letter {
				fmt.Fprintf(&b, "| %s%d | %s | `%s` in %s |\n", p.letter, p.number, strings.ReplaceAll(p.says, "|", "\\|"), p.name, p.dir)
			}
		}
	}
	for _, p := range all {
		if p.says == "" {
			t.Errorf("%s in %s has no comment that states the behaviour", p.name, p.dir)
		}
	}
	const file = "../docs/faults.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s is not what the tests say: run make docs", file)
	}
}
