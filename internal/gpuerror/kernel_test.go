package gpuerror

import "testing"

func TestKernelLine(t *testing.T) {
	tests := []struct {
		name, line string
		want       Verdict
		code       string
	}{
		{"off the bus", "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", Lost, "xid 79"},
		{"as dmesg prints it", "[  130.456250] [  T1946] NVRM: Xid (PCI:0000:2b:00): 31, pid=1942, name=python3, channel 0x2", Restart, "xid 31"},
		{"as /dev/kmsg prints it", "4,1234,130456250,-;NVRM: Xid (PCI:0000:2b:00): 31, pid=1942, name=python3, channel 0x2\n", Restart, "xid 31"},
		{"a part of a GPU", "NVRM: Xid (PCI:0000:2b:00 GPU-I:01): 13, pid=1, name=python3, Graphics SM Warp Exception", Restart, "xid 13"},
		{"a link's fatal error", "NVRM: Xid (PCI:0009:01:00): 145, RLW_REMAP  Fatal   XC0 i0 Link 01", Host, "xid 145"},
		{"a link's error that is not fatal", "NVRM: Xid (PCI:0009:01:00): 145, RLW_REMAP  Nonfatal XC0 i0 Link 01", Leave, ""},
		{"recovered", "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)", Leave, "xid 154"},
		{"to be rebooted", "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", Lost, "xid 154"},
		{"the work of a kill", "NVRM: Xid (PCI:0000:01:00): 45, pid=7, name=python3, Ch 00000008", Leave, ""},
		{"a number that nobody knows", "NVRM: Xid (PCI:0000:01:00): 99999999999999999999, x", Leave, ""},
		{"no number", "NVRM: Xid (PCI:0000:01:00): fell off", Leave, ""},
		{"an unclosed stamp", "[ 12.5 NVRM: Xid (PCI:0000:01:00): 79, x", Leave, ""},
		{"AMD's page fault", "amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:24 vmid:3 pasid:32772)", Restart, ""},
		{"AMD being loaded", "amdgpu 0000:03:00.0: amdgpu: ring gfx_0.0.0 uses VM inv eng 0 on hub 0", Leave, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := KernelLine(tt.line, nil); f.Verdict != tt.want || f.Code != tt.code {
				t.Errorf("%s\ngot %s (%s), want %s (%s)", tt.line, f.Verdict, f.Code, tt.want, tt.code)
			}
		})
	}
}

func TestKernelLineLeavesOtherProcessesAlone(t *testing.T) {
	ours := func(pid int, name string) bool { return pid == 1942 || name == "pt_main_thread" }
	tests := []struct {
		name, line string
		want       Verdict
	}{
		{"ours by pid", "NVRM: Xid (PCI:0000:01:00): 31, pid=1942, name=x, Ch 7", Restart},
		{"ours by name, the pid being the host's", "NVRM: Xid (PCI:0000:01:00): 31, pid=2079991, name=pt_main_thread, Ch 7", Restart},
		{"a neighbour's", "NVRM: Xid (PCI:0000:01:00): 31, pid=2079991, name=llama-bench, Ch 7", Leave},
		{"nobody's", "NVRM: Xid (PCI:0000:01:00): 13, pid='<unknown>', name=<unknown>, Graphics Exception", Leave},
		{"not of a process", "NVRM: Xid (PCI:0000:01:00): 79, pid=1, name=llama-bench, GPU has fallen off the bus.", Lost},
		{"AMD names none", "amdgpu 0000:07:00.0: amdgpu: ring gfx_0.0.0 timeout, signaled seq=1, emitted seq=2", Leave},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := KernelLine(tt.line, ours); f.Verdict != tt.want {
				t.Errorf("%s\ngot %s, want %s", tt.line, f.Verdict, tt.want)
			}
		})
	}
}

func TestKernelLineNamesNobodyAsNobody(t *testing.T) {
	asked := false
	KernelLine("NVRM: Xid (PCI:0000:01:00): 13, pid='<unknown>', name=<unknown>, x", func(pid int, name string) bool {
		asked = true
		if pid != 0 || name != "" {
			t.Errorf("asked about pid %d, name %q, want 0 and none", pid, name)
		}
		return true
	})
	if !asked {
		t.Error("was not asked whose the line is")
	}
}

func FuzzKernelLine(f *testing.F) {
	for _, e := range corpus(f) {
		if e.Source == "kernel" {
			f.Add(e.Message)
		}
	}
	f.Add("6,1,2,-;NVRM: Xid (): 31, pid=-1, name=")
	f.Fuzz(func(t *testing.T, line string) {
		found := KernelLine(line, func(pid int, _ string) bool {
			if pid < 0 {
				t.Errorf("%q: asked about pid %d", line, pid)
			}
			return true
		})
		if found.Verdict != Leave && (found.Phrase == "" || found.Why == "") {
			t.Errorf("KernelLine(%q) = %+v, which does not say why", line, found)
		}
	})
}
