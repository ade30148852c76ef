package gpuerror

import (
	"strconv"
	"strings"
)

// An xid is what NVIDIA's driver means by a range of its error numbers.
type xid struct {
	first, last int
	text        string // must occur in the line, "" for any
	verdict     Verdict
	why         string
}

// xids is asked from the top. Numbers that are not in it are left alone.
var xids = []xid{
	{8, 8, "", Restart, "the GPU stopped working for a process"},
	{13, 13, "", Restart, "a GPU kernel of a process failed"},
	{31, 31, "", Restart, "a GPU kernel used memory that is not its own"},
	{32, 32, "", Restart, "the driver got corrupt commands from a process"},
	{43, 43, "", Restart, "the GPU stopped working for a process"},
	{46, 46, "", Host, "the GPU stopped working"},
	{48, 48, "", Host, "the GPU's memory is faulty"},
	{62, 62, "", Host, "the GPU's controller halted"},
	{64, 64, "", Host, "the GPU's faulty memory could not be replaced"},
	{69, 69, "", Restart, "a process confused the GPU's graphics engine"},
	{74, 74, "", Host, "the link between GPUs is faulty"},
	{79, 79, "", Lost, "the GPU has fallen off the bus"},
	{94, 94, "", Restart, "a memory fault of the GPU hit a process"},
	{95, 95, "", Lost, "a memory fault of the GPU was not contained"},
	{109, 109, "", Host, "the GPU did not switch between processes"},
	{119, 120, "", Lost, "the GPU's own processor does not answer"},
	{140, 140, "", Host, "the GPU's memory is faulty"},
	{143, 143, "", Host, "the GPU does not start"},
	{144, 150, "Fatal", Host, "the link between GPUs is faulty"},
	{154, 154, "to 0x0 (None)", Leave, "the GPU has recovered"},
	{154, 154, "", Lost, "the GPU has to be reset or its host rebooted"},
}

// kernelLines are the other lines of the kernel that say something.
var kernelLines = []rule{
	{Lost, 0, "NVRM: API mismatch: *", "the host's driver was replaced under the container"},
	{Host, 0, "NVRM: GPU *: RmInitAdapter failed!*", "the GPU does not start"},
	{Host, 0, "nvidia-nvswitch*: SXid (*): *, Fatal, *", "the switch between GPUs is faulty"},
	{Restart, 0, "amdgpu *: amdgpu: ring * timeout, *", "the GPU hung and is reset"},
	{Restart, 0, "amdgpu *: amdgpu: [*hub*] page fault (*", "a GPU kernel used memory that is not its own"},
}

// KernelLine judges a line of the kernel's log, as dmesg or /dev/kmsg give it.
// Ours tells whether a process is ComfyUI, by its pid and name: what the driver
// reports of other processes is left alone. The pid is the host's, not the
// container's, so the name may be the better witness; where the line names no
// process they are 0 and "". A nil ours takes every line for ComfyUI's.
//
// Killing a process with work on the GPU makes the driver complain, too: do not
// ask about lines stamped within seconds of an own kill.
func KernelLine(line string, ours func(pid int, name string) bool) Finding {
	line = withoutStamp(strings.TrimRight(line, "\r\n"))
	f, ok := find(kernelLines, line)
	if !ok {
		f = xidLine(line)
	}
	if f.Verdict == Restart && ours != nil && !ours(namedProcess(line)) {
		return Finding{}
	}
	return f
}

func xidLine(line string) Finding {
	rest, ok := after("NVRM: Xid (*): ", line)
	if !ok {
		return Finding{}
	}
	number, _, ok := strings.Cut(rest, ",")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return Finding{}
	}
	for _, x := range xids {
		if x.first <= n && n <= x.last && strings.Contains(rest, x.text) {
			return Finding{Verdict: x.verdict, Phrase: "NVRM: Xid (*): " + number, Why: x.why, Code: "xid " + number}
		}
	}
	return Finding{}
}

// withoutStamp takes off what stands before the message: the header of a record
// of /dev/kmsg up to its semicolon, or dmesg's time and thread in brackets.
func withoutStamp(line string) string {
	if header, rest, ok := strings.Cut(line, ";"); ok && strings.Trim(header, "0123456789,-c") == "" {
		line = rest
	}
	for strings.HasPrefix(line, "[") {
		_, rest, ok := strings.Cut(line, "] ")
		if !ok {
			return line
		}
		line = strings.TrimLeft(rest, " ")
	}
	return line
}

// namedProcess reads pid=1942, name=python3, out of an Xid. Either may be missing
// or '<unknown>'.
func namedProcess(line string) (pid int, name string) {
	if _, rest, ok := strings.Cut(line, " pid="); ok {
		digits, _, _ := strings.Cut(rest, ",")
		pid, _ = strconv.Atoi(digits)
	}
	if _, rest, ok := strings.Cut(line, " name="); ok {
		name, _, _ = strings.Cut(rest, ",")
	}
	if strings.Contains(name, "<unknown>") {
		name = ""
	}
	return max(pid, 0), name
}
