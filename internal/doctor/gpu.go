package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/comfyvisor/comfyvisor/health"
)

// A toolkit is a release of CUDA with the oldest Linux driver that it came with.
type toolkit struct{ cuda, driver string }

// toolkits are NVIDIA's, oldest first.
var toolkits = []toolkit{
	{"11.0", "450.36.06"}, {"11.1", "455.23"}, {"11.2", "460.27.03"}, {"11.3", "465.19.01"}, {"11.4", "470.42.01"},
	{"11.5", "495.29.05"}, {"11.6", "510.39.01"}, {"11.7", "515.43.04"}, {"11.8", "520.61.05"},
	{"12.0", "525.60.13"}, {"12.1", "530.30.02"}, {"12.2", "535.54.03"}, {"12.3", "545.23.06"}, {"12.4", "550.54.14"},
	{"12.5", "555.42.02"}, {"12.6", "560.28.03"}, {"12.8", "570.26"}, {"12.9", "575.51.03"},
	{"13.0", "580.65.06"},
}

// oldest are the oldest drivers on which programs of a whole major release run.
var oldest = map[int]string{11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}

// A GPU is what the check of it looks at.
type GPU struct {
	At     health.GPU
	Wanted bool   // jobs cannot be done without
	CUDA   string // that the image was built for (CUDA_VERSION), "" if it does not say
}

// Look finds the driver and the devices, and tells whether the driver is new
// enough for the image. Neither Python nor the vendor's libraries are asked.
func (g GPU) Look() Finding {
	driver, err := g.At.Find()
	switch {
	case err != nil && g.Wanted:
		what, todo, _ := strings.Cut(err.Error(), "; ")
		return Finding{Verdict: Fail, Text: what, Advice: todo}
	case err != nil:
		return Finding{Verdict: OK, Text: "none, and none is asked for: ComfyUI runs on the CPU"}
	}
	f := Finding{Verdict: OK, Text: fmt.Sprintf("%s, driver %s, %s", driver.Vendor, cmp.Or(driver.Version, "of unknown version"), strings.Join(driver.Devices, " "))}
	if driver.Vendor == "nvidia" && driver.Version != "" && g.CUDA != "" {
		f.Verdict, f.Advice = fits(driver.Version, g.CUDA)
		f.Text += ", image for CUDA " + g.CUDA
	}
	return f
}

// fits compares a driver with the CUDA release that an image was built for.
func fits(driver, cuda string) (verdict, advice string) {
	release := numbers(cuda)
	if len(release) == 0 {
		return OK, ""
	}
	least, known := oldest[release[0]]
	switch {
	case known && older(driver, least):
		return Fail, fmt.Sprintf("CUDA %d needs driver %s or newer, and the host has %s: choose a host with a newer driver (RunPod: the endpoint's CUDA filter), or an image for an older CUDA", release[0], least, driver)
	case !known && release[0] > 13 && older(driver, oldest[13]):
		return Fail, fmt.Sprintf("the host's driver %s is older than any for CUDA %s: choose a host with a newer driver", driver, cuda)
	}
	for _, t := range toolkits {
		if slices.Equal(numbers(t.cuda), release[:min(len(release), 2)]) && older(driver, t.driver) {
			return Warn, fmt.Sprintf("CUDA %s came with driver %s, and the host has %s: most programs run, those that compile for the GPU at run time may not", t.cuda, t.driver, driver)
		}
	}
	return OK, ""
}

// older tells whether version a comes before b.
func older(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

// numbers are those of a version, up to the first that is none.
func numbers(version string) (all []int) {
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		all = append(all, n)
	}
	return all
}
