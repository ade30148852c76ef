package vp8

import (
	"image"
	"image/draw"
)

// A frame is a picture as VP8 has it: brightness, and colour at half the size.
type frame struct {
	width, height int
	across, down  int // macroblocks
	planes        [3]plane
}

func newFrame(width, height int) *frame {
	f := &frame{width: width, height: height, across: (width + 15) / 16, down: (height + 15) / 16}
	for i, side := range []int{16, 8, 8} {
		f.planes[i] = plane{make([]uint8, side*side*f.across*f.down), side * f.across, side}
	}
	return f
}

// frameOf takes a picture over, two rows at a time. What a macroblock has beyond
// the edge continues it.
func frameOf(img image.Image) *frame {
	b := img.Bounds()
	f := newFrame(b.Dx(), b.Dy())
	rows := image.NewRGBA(image.Rect(0, 0, 16*f.across, 2))
	for y := 0; y < 16*f.down; y += 2 {
		for i := range 2 {
			from := min(y+i, b.Dy()-1)
			draw.Draw(rows, image.Rect(0, i, b.Dx(), i+1), img, image.Pt(b.Min.X, b.Min.Y+from), draw.Src)
			row := rows.Pix[i*rows.Stride : (i+1)*rows.Stride]
			for x := b.Dx(); x < 16*f.across; x++ {
				copy(row[4*x:4*x+4], row[4*b.Dx()-4:])
			}
		}
		f.take(rows, y)
	}
	return f
}

// take converts two rows (ITU-R BT.601, in the limited range).
func (f *frame) take(rows *image.RGBA, y int) {
	bright, blue, red := f.planes[0], f.planes[1], f.planes[2]
	for x := 0; x < bright.stride; x += 2 {
		var r, g, b int32 // of four pixels
		for i := range 4 {
			p := rows.Pix[i/2*rows.Stride+4*(x+i%2):]
			pr, pg, pb := int32(p[0]), int32(p[1]), int32(p[2])
			bright.pix[(y+i/2)*bright.stride+x+i%2] = uint8((16839*pr + 33059*pg + 6420*pb + 16<<16 + 1<<15) >> 16)
			r, g, b = r+pr, g+pg, b+pb
		}
		at := y/2*blue.stride + x/2
		blue.pix[at] = clip((-9719*r - 19081*g + 28800*b + 128<<18 + 1<<17) >> 18)
		red.pix[at] = clip((28800*r - 24116*g - 4684*b + 128<<18 + 1<<17) >> 18)
	}
}
