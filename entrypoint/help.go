package main

import (
	"fmt"
	"io"
	"strings"
)

const helpWidth = 100

// commands are what the program can be told to do.
var commands = []struct{ usage, meaning string }{
	{"comfyvisor", "keep ComfyUI running and do jobs, from RunPod's queue or from the local API"},
	{"comfyvisor run FILE", "start ComfyUI, run the one job in FILE, print its result and end; without a queue and without SERVE_API_LOCALLY a test_input.json in the working directory is run in this way"},
	{"comfyvisor submit FILE", "send the workflow in FILE to the local API or to an endpoint of RunPod, show its progress and save its files"},
	{"comfyvisor cancel JOB", "give a job up"},
	{"comfyvisor restart", "have the comfyvisor of this machine restart ComfyUI"},
	{"comfyvisor status", "tell how ComfyUI is and why, how its last run ended, and what jobs there are"},
	{"comfyvisor doctor", "look at configuration, GPU, ComfyUI, network volume, disk, S3 and queue, and say what is wrong and what to do: exits with 0 or 1; --json prints JSON"},
	{"comfyvisor healthcheck", "ask a running comfyvisor whether it is ready for jobs: exits with 0 or 1"},
	{"comfyvisor version", "print the version"},
	{"comfyvisor --help", "print this text"},
}

// commandNames are the words that can follow comfyvisor.
func commandNames() []string {
	var names []string
	for _, c := range commands {
		if words := strings.Fields(c.usage); len(words) > 1 {
			names = append(names, words[1])
		}
	}
	return names
}

// writeHelp writes the text of comfyvisor --help, made from Config and exitCodes.
func writeHelp(w io.Writer) error {
	var b strings.Builder
	b.WriteString("comfyvisor keeps ComfyUI running and does jobs with it.\n\nCommands:\n\n")
	for _, c := range commands {
		row(&b, 24, c.usage, c.meaning)
	}
	b.WriteString("\nVariables. An empty one counts as unset.\n")
	group := ""
	for _, v := range variables() {
		if v.Group != group {
			group = v.Group
			fmt.Fprintf(&b, "\n%s:\n\n", group)
		}
		row(&b, 33, v.Name, v.meaning())
	}
	b.WriteString("\nExit codes:\n\n")
	for _, c := range exitCodes {
		row(&b, 5, fmt.Sprint(c.code), c.meaning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// meaning is the help of a variable, with its values and its default.
func (v variable) meaning() string {
	text := v.Help
	if len(v.OneOf) > 0 {
		text += " (" + strings.Join(v.OneOf, ", ") + ")"
	}
	if len(v.Also) > 0 {
		text += "; also read from " + strings.Join(v.Also, ", ")
	}
	if v.Default != "" {
		text += " [" + v.Default + "]"
	}
	return text
}

// row writes a name in a column of the given width, and the text beside it in
// as many lines as it needs.
func row(b *strings.Builder, width int, name, text string) {
	fmt.Fprintf(b, "  %-*s", width, name)
	column := 2 + width
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > helpWidth:
			b.WriteString("\n" + strings.Repeat(" ", 2+width))
			column = 2 + width
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
