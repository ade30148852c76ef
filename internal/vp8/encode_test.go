package vp8

import (
	"bytes"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/image/webp"
)

// scene is a picture with soft and hard edges, and noise where asked.
func scene(w, h int, noise int) *image.RGBA {
	rnd := rand.New(rand.NewPCG(1, 2))
	img := image.NewRGBA(image.Rect(3, 5, 3+w, 5+h))
	for y := range h {
		for x := range w {
			n := 0
			if noise > 0 {
				n = rnd.IntN(noise)
			}
			c := color.RGBA{clip(int32(255*x/w + n)), clip(int32(255*y/h - n)), clip(int32(128 + 100*math.Sin(float64(x+2*y)/9))), 255}
			if (x/16+y/16)%7 == 0 {
				c = color.RGBA{250, 240, 20, 255}
			}
			img.SetRGBA(3+x, 5+y, c)
		}
	}
	return img
}

// A reader sees to the bit what the encoder has predicted from, whatever the
// sizes, steps and contents: so all decisions, levels and contexts were written
// as they are read.
func TestReadersSeeWhatTheEncoderSaw(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {16, 16}, {17, 15}, {97, 61}, {160, 96}} {
		for _, quality := range []int{0, 10, 50, 80, 95, 100} {
			for _, noise := range []int{0, 255} {
				e := newEncoder(frameOf(scene(size[0], size[1], noise)), index(quality))
				e.run()
				e.y[1] = 0 // no loop filter, which comes after
				var b bytes.Buffer
				if err := e.write(&b); err != nil {
					t.Fatal(err)
				}
				got, err := webp.Decode(&b)
				if err != nil {
					t.Fatalf("%v at %d: %v", size, quality, err)
				}
				img := got.(*image.YCbCr)
				if img.Rect.Dx() != size[0] || img.Rect.Dy() != size[1] {
					t.Fatalf("size %v, want %v", img.Rect, size)
				}
				for y := range size[1] {
					for x := range size[0] {
						c, ours := img.YCbCrAt(x, y), e.seen.planes
						want := color.YCbCr{
							Y:  ours[0].pix[y*ours[0].stride+x],
							Cb: ours[1].pix[y/2*ours[1].stride+x/2],
							Cr: ours[2].pix[y/2*ours[2].stride+x/2],
						}
						if c != want {
							t.Fatalf("%v at quality %d, noise %d: pixel %d, %d is %v, want %v", size, quality, noise, x, y, c, want)
						}
					}
				}
			}
		}
	}
}

// better is the ratio of signal to noise of the brightness, in dB.
func better(t *testing.T, img image.Image, quality int) (ratio float64, size int) {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, img, quality); err != nil {
		t.Fatal(err)
	}
	size = b.Len()
	got, err := webp.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	src, back := frameOf(img), got.(*image.YCbCr)
	sum := 0.0
	for y := range src.height {
		for x := range src.width {
			d := float64(src.planes[0].pix[y*src.planes[0].stride+x]) - float64(back.Y[y*back.YStride+x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255*float64(src.width*src.height)/sum), size
}

// More quality looks better and takes more room.
func TestQuality(t *testing.T) {
	img := scene(256, 256, 0)
	last, before := 0.0, 0
	for quality, least := range map[int]float64{5: 20, 30: 26, 60: 29, 80: 32, 95: 38} {
		if ratio, _ := better(t, img, quality); ratio < least {
			t.Errorf("quality %d: %.1f dB, want %v", quality, ratio, least)
		}
	}
	for _, quality := range []int{5, 30, 60, 80, 95} {
		ratio, size := better(t, img, quality)
		if ratio <= last || size <= before {
			t.Errorf("quality %d: %.1f dB in %d bytes after %.1f dB in %d bytes", quality, ratio, size, last, before)
		}
		last, before = ratio, size
		t.Logf("quality %d: %.1f dB in %d bytes", quality, ratio, size)
	}
}

func TestSizesThatWebPHasNot(t *testing.T) {
	for _, size := range [][2]int{{0, 1}, {1, 0}, {longest + 1, 1}, {1, longest + 1}} {
		if err := Encode(new(bytes.Buffer), image.NewGray(image.Rect(0, 0, size[0], size[1])), 80); err == nil {
			t.Errorf("%v was written", size)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(uint8(3), uint8(17), []byte("some pixels"))
	f.Add(uint8(100), uint8(1), []byte{0, 255, 0, 255})
	f.Fuzz(func(t *testing.T, quality, width uint8, pix []byte) {
		w := max(1, int(width)%50)
		img := image.NewGray(image.Rect(0, 0, w, max(1, min(len(pix)/w, 50))))
		copy(img.Pix, pix)
		e := newEncoder(frameOf(img), index(int(quality)))
		e.run()
		e.y[1] = 0
		var b bytes.Buffer
		if err := e.write(&b); err != nil {
			t.Fatal(err)
		}
		got, err := webp.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		for y := range img.Rect.Dy() {
			for x := range w {
				if got.(*image.YCbCr).YCbCrAt(x, y).Y != e.seen.planes[0].pix[y*e.seen.planes[0].stride+x] {
					t.Fatalf("pixel %d, %d is another", x, y)
				}
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	img := scene(1024, 1024, 8)
	for b.Loop() {
		var out bytes.Buffer
		if err := Encode(&out, img, 80); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(out.Len()), "bytes")
	}
}
