package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGPUNames(t *testing.T) {
	tests := []struct {
		name, devices, visible, cuda, want string
	}{
		{"none", "", "", "", ""},
		{"all of one", "nvidia0 nvidiactl nvidia-uvm", "all", "", "0"},
		{"all of four", "nvidia0 nvidia1 nvidia2 nvidia3 nvidiactl", "", "", "0 1 2 3"},
		{"two of the host's, mounted", "nvidia3 nvidia5", "3,5", "", "0 1"},
		{"two listed, all mounted", "nvidia0 nvidia1 nvidia2 nvidia3", "0,1", "", "0 1"},
		{"by UUID", "nvidia0 nvidia1", "GPU-5a,GPU-6b", "", "GPU-5a GPU-6b"},
		{"parts of one", "nvidia0", "MIG-1,MIG-2,MIG-3", "", "MIG-1 MIG-2 MIG-3"},
		{"mounted one by one", "nvidia0 nvidia1", "void", "", "0 1"},
		{"hidden", "nvidia0 nvidia1", "none", "", ""},
		{"chosen", "nvidia0 nvidia1 nvidia2", "all", "2, 0", "2 0"},
		{"chosen, with an end", "nvidia0 nvidia1", "all", "1,-1,0", "1"},
		{"amd", "kfd dri/renderD128 dri/renderD129", "", "", "0 1"},
		{"wsl", "dxg", "all", "", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, device := range strings.Fields(tt.devices) {
				path := filepath.Join(root, "dev", device)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got := GPU{Root: root, Visible: tt.visible}.Names(tt.cuda)
			if diff := cmp.Diff(strings.Fields(tt.want), append([]string{}, got...)); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}
