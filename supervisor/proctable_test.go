package supervisor

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func procName(pid int) string { return strconv.Itoa(pid) }

func number(t *testing.T, text []byte) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseStat(t *testing.T) {
	rest := " S 1 42 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 100 1 3\n"
	want := procEntry{pid: 42, parent: 1, group: 42, state: 'S', ticks: 42, pages: 3}
	for _, name := range []string{"python", "a b", "a) S 9 9 9", "((", ""} {
		if got, ok := parseStat([]byte("42 (" + name + ")" + rest)); !ok || got != want {
			t.Errorf("command %q: %+v, %v, want %+v", name, got, ok, want)
		}
	}
	for _, line := range []string{"", "42", "42 (x", "42 (x) S", "x (x)" + rest} {
		if got, ok := parseStat([]byte(line)); ok {
			t.Errorf("parseStat(%q) = %+v, want nothing", line, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b) S 1 42 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 100 1 3\n"))
	f.Add([]byte(") ("))
	f.Fuzz(func(t *testing.T, line []byte) {
		if p, ok := parseStat(line); ok && p.pid <= 0 {
			t.Errorf("%+v from %q", p, line)
		}
	})
}

func TestHasEmptyEnvironment(t *testing.T) {
	line := func(codeEnd, envStart, envEnd int) string {
		fields := slices.Repeat([]string{"7"}, 50)
		fields[24], fields[47], fields[48] = fmt.Sprint(codeEnd), fmt.Sprint(envStart), fmt.Sprint(envEnd)
		return "12 (a) b) " + strings.Join(fields, " ") + "\n"
	}
	tests := []struct {
		name, line string
		want       bool
	}{
		{"an environment", line(4000, 9000, 9500), false},
		{"nothing in it", line(4000, 9000, 9000), true},
		{"between two programs", line(0, 0, 0), false},
		{"it is being put into its place", line(0, 9000, 9000), false},
		{"the process has ended", "", false},
		{"a line cut short", "12 (a) S 1 2", false},
	}
	for _, tt := range tests {
		if got := hasEmptyEnvironment([]byte(tt.line)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestLeft(t *testing.T) {
	const self, group = 10, 100
	table := []procEntry{
		{pid: 1, group: 1, state: 'S'},
		{pid: self, parent: 1, group: self, state: 'S'},
		{pid: 101, parent: self, group: group, state: 'S'}, // in the group
		{pid: 102, parent: 101, group: 102, state: 'D'},    // below it, in its own group
		{pid: 103, parent: self, group: group, state: 'Z'}, // dead
		{pid: 104, parent: 103, group: 104, state: 'S'},    // below a dead one of the group
		{pid: 200, parent: self, group: 200, state: 'S'},   // an orphan
		{pid: 201, parent: 200, group: 200, state: 'R'},    // below it
		{pid: 300, parent: self, group: 300, state: 'S'},   // a command of ours
		{pid: 301, parent: 300, group: 300, state: 'S'},    // below it
		{pid: 400, parent: self, group: 400, state: 'S'},   // a stranger
		{pid: 401, parent: 400, group: 400, state: 'S'},    // below it
		{pid: 500, parent: 1, group: 500, state: 'S'},      // somebody else's
		{pid: 600, parent: self, group: 600, state: 'Z'},   // an orphan, dead
	}
	r := &Reaper{self: self, own: map[int]*exec.Cmd{300: {}}}
	var got []int
	for _, p := range r.left(table, group, func(pid int) bool { return pid == 400 }) {
		got = append(got, p.pid)
	}
	slices.Sort(got)
	if want := []int{101, 102, 104, 200, 201}; !slices.Equal(got, want) {
		t.Errorf("left = %v, want %v", got, want)
	}
}
