package convert

import (
	"image"
	"image/draw"
)

// scale makes a picture smaller. Each pixel is the mean of the area that it
// covers. The scalers of golang.org/x/image/draw are not used because those of
// good quality take 32 bytes for each pixel of the new width and the old height.
func scale(src image.Image, width, height int) *image.RGBA {
	from := src.Bounds()
	dst := image.NewRGBA(image.Rect(0, 0, width, height))
	line := image.NewRGBA(image.Rect(0, 0, from.Dx(), 1))
	across := make([]uint64, 4*width)
	sums := make([]uint64, 4*width)
	area := uint64(from.Dx()) * uint64(from.Dy())
	row, left := 0, from.Dy() // of the height that a row of dst takes, in parts of a row of src
	for y := range from.Dy() {
		draw.Draw(line, line.Rect, src, image.Pt(from.Min.X, from.Min.Y+y), draw.Src)
		squeeze(across, line.Pix, width, from.Dx())
		for part := height; part > 0; {
			now := min(part, left)
			for i, v := range across {
				sums[i] += v * uint64(now)
			}
			if part, left = part-now, left-now; left > 0 {
				continue
			}
			for i, sum := range sums {
				dst.Pix[row*dst.Stride+i] = uint8((sum + area/2) / area)
			}
			clear(sums)
			row, left = row+1, from.Dy()
		}
	}
	return dst
}

// squeeze adds up the pixels of a line for each of the fewer pixels that it
// becomes, each weighed by how much of it falls there.
func squeeze(across []uint64, line []uint8, width, length int) {
	clear(across)
	to, left := 0, length
	for x := range length {
		pixel := line[4*x : 4*x+4 : 4*x+4]
		for part := width; part > 0; {
			now := min(part, left)
			sum := across[4*to : 4*to+4 : 4*to+4]
			for i, v := range pixel {
				sum[i] += uint64(v) * uint64(now)
			}
			if part, left = part-now, left-now; left == 0 {
				to, left = to+1, length
			}
		}
	}
}
