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
	if info.Format == "JPEG" && info.Width == 0 && c.Size > media.Most { // of the others it stands in front
		return fmt.Errorf("the size of the JPEG cannot be found in its first %d MB: send it without what stands before the picture", media.Most>>20)
	}
	if info.Width > 0 && info.Height > maxPixels/info.Width {
		return fmt.Errorf("the %s has %d x %d pixels: at most %d million in all are taken",
			info.Format, info.Width, info.Height, maxPixels/1_000_000)
	}
	return nil
}
