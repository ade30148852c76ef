package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func helpText(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := writeHelp(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHelpFitsTheTerminalAndNamesEverything(t *testing.T) {
	help := helpText(t)
	for line := range strings.Lines(help) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth || strings.HasSuffix(line, " \n") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	flat := strings.Join(strings.Fields(help), " ")
	for _, v := range variables() {
		if !strings.Contains(flat, v.Name+" "+v.meaning()) {
			t.Errorf("%s is not there with its meaning and its default", v.Name)
		}
	}
	for _, c := range exitCodes {
		if !strings.Contains(flat, fmt.Sprint(c.code, " ", c.meaning)) {
			t.Errorf("exit code %d is not there", c.code)
		}
	}
	for _, c := range commands {
		if !strings.Contains(flat, c.usage+" "+c.meaning) {
			t.Errorf("%s is not there", c.usage)
		}
	}
}

func TestHelpLayout(t *testing.T) {
	var b strings.Builder
	row(&b, 10, "NAME", strings.Repeat("word ", 30))
	row(&b, 10, "NAME_TOO_LONG", "x")
	want := "  NAME      " + strings.TrimSpace(strings.Repeat("word ", 17)) + "\n" +
		strings.Repeat(" ", 12) + strings.TrimSpace(strings.Repeat("word ", 13)) + "\n" +
		"  NAME_TOO_LONGx\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, v := range variables() {
		if len(v.Name) > 31 {
			t.Errorf("%s is too long for its column", v.Name)
		}
	}
}

// TestConfigurationDocument holds the tables of docs/configuration.md to Config.
func TestConfigurationDocument(t *testing.T) {
	const path = "../docs/configuration.md"
	tables := map[string]string{"exit codes": "| code | meaning |\n|---|---|\n"}
	for _, c := range exitCodes {
		tables["exit codes"] += fmt.Sprintf("| %d | %s |\n", c.code, c.meaning)
	}
	for _, v := range variables() {
		if tables[v.Group] == "" {
			tables[v.Group] = "| variable | default | meaning |\n|---|---|---|\n"
		}
		tables[v.Group] += v.markdown()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile(`(?s)<!-- ([^>]*) -->\n(.*?)<!-- end -->\n`)
	got := section.ReplaceAllStringFunc(string(b), func(s string) string {
		name := section.FindStringSubmatch(s)[1]
		table, ok := tables[name]
		if !ok {
			t.Errorf("the document has a table %q and Config has not", name)
		}
		delete(tables, name)
		return fmt.Sprintf("<!-- %s -->\n%s<!-- end -->\n", name, table)
	})
	for name := range tables {
		t.Errorf("the document lacks <!-- %s -->", name)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(got, string(b)); diff != "" {
		t.Errorf("the document is not that of Config; go test ./entrypoint -run TestConfigurationDocument -update writes it (-want +got):\n%s", diff)
	}
}

// markdown is the variable's row in a table.
func (v variable) markdown() string {
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	help := regexp.MustCompile(`\$[A-Z_]+(/[a-z]+)*|\b[A-Z]+(_[A-Z]+)+\b|--[a-z-]+|(/[a-z]+(-[a-z]+)*)+\b|\{[a-z_]+\}`).ReplaceAllStringFunc(v.Help, code)
	if len(v.OneOf) > 0 {
		help += " (`" + strings.Join(v.OneOf, "`, `") + "`)"
	}
	if len(v.Also) > 0 {
		help += "; also read from `" + strings.Join(v.Also, "`, `") + "`"
	}
	return fmt.Sprintf("| %s | %s | %s |\n", code(v.Name), code(v.Default), strings.ReplaceAll(help, "|", `\|`))
}
