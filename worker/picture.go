package worker

import (
	"fmt"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/media"
)

// maxPixels is the largest picture that a job may bring. Ten kilobytes of PNG
// can ask for ten gigabytes of memory, which ComfyUI would try to get.
const maxPixels = 100_000_000

// checkPicture refuses a picture of too many pixels, by its header alone: no
// pixel is decoded. What is no picture, whatever it is called, is let pass, and
// so is one whose header cannot be read, which ComfyUI will say.
func checkPicture(c job.Content) error {
	r, err := c.Open()
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer r.Close()
	info := media.Look(r, c.Size)
	if info.Width > 0 && info.Height > maxPixels/info.Width {
		return fmt.Errorf("the %s has %d x %d pixels: at most %d million in all are taken",
			info.Format, info.Width, info.Height, maxPixels/1_000_000)
	}
	return nil
}
