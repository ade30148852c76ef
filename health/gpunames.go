package health

import (
	"strconv"
	"strings"
)

// Names returns what CUDA calls the GPUs that a process may be given, in their
// order. Those are the ones of cuda, which is CUDA_VISIBLE_DEVICES, or else all
// that are there; where Visible lists some, only as many. It asks no driver.
func (g GPU) Names(cuda string) []string {
	if cuda != "" {
		return listed(cuda)
	}
	devices := len(g.glob("dev/nvidia[0-9]*"))
	if devices == 0 && g.has("dev/kfd") {
		devices = len(g.glob("dev/dri/renderD*"))
	}
	if devices == 0 && g.has("dev/dxg") {
		devices = 1
	}
	switch g.Visible {
	case "", "all", "void": // void is set where devices are mounted one by one
	default:
		visible := listed(g.Visible)
		if devices > 0 && len(visible) > 0 && hasUUID(visible[0]) {
			return visible
		}
		// Its numbers are those of the host. Inside, CUDA counts from 0.
		devices = min(devices, len(visible))
	}
	names := make([]string, devices)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// listed are the names in a list, which ends at the first that is none.
func listed(text string) (names []string) {
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if n, err := strconv.Atoi(name); !hasUUID(name) && (err != nil || n < 0) {
			break
		}
		names = append(names, name)
	}
	return names
}

func hasUUID(name string) bool {
	return strings.HasPrefix(name, "GPU-") || strings.HasPrefix(name, "MIG-")
}
