package convert

import (
	"image"
	"image/color"
)

// wholeRange returns what was decoded from WebP in its true colours. Lossy WebP
// has them in the limited range, which the library hands on as if they were
// JPEG's: they would come out pale.
func wholeRange(img image.Image) image.Image {
	switch lossy := img.(type) {
	case *image.YCbCr:
		whole := image.NewRGBA(lossy.Rect)
		eachPixel(lossy, func(x, y int, c color.RGBA) { whole.SetRGBA(x, y, c) })
		return whole
	case *image.NYCbCrA:
		whole := image.NewNRGBA(lossy.Rect)
		eachPixel(&lossy.YCbCr, func(x, y int, c color.RGBA) {
			whole.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, lossy.A[lossy.AOffset(x, y)]})
		})
		return whole
	}
	return img
}

// eachPixel converts the pixels of a picture (ITU-R BT.601, from the limited range).
func eachPixel(img *image.YCbCr, see func(x, y int, c color.RGBA)) {
	for y := img.Rect.Min.Y; y < img.Rect.Max.Y; y++ {
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
			c := img.YCbCrAt(x, y)
			bright, blue, red := 76309*(int32(c.Y)-16)+1<<15, int32(c.Cb)-128, int32(c.Cr)-128
			see(x, y, color.RGBA{clip(bright + 104597*red), clip(bright - 25675*blue - 53279*red), clip(bright + 132201*blue), 255})
		}
	}
}

// clip takes the fraction of 16 bits off.
func clip(n int32) uint8 { return uint8(min(max(n>>16, 0), 255)) }
