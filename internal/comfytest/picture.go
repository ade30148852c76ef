package comfytest

import (
	"hash/fnv"
	"image"
	"image/color"
	"math"
)

// A picture is an IMAGE: some frames of one size, of which a pixel is
// computed when it is asked for.
type picture struct {
	w, h, frames int
	at           func(frame, x, y int) color.RGBA
}

// frame draws one frame.
func (p *picture) frame(n int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, p.w, p.h))
	for y := range p.h {
		for x := range p.w {
			img.SetRGBA(x, y, p.at(n, x, y))
		}
	}
	return img
}

// plain is a picture of one colour.
func plain(w, h, frames int, c color.RGBA) *picture {
	return &picture{w, h, frames, func(int, int, int) color.RGBA { return c }}
}

// photo is a picture of a decoded image.
func photo(img image.Image) *picture {
	b := img.Bounds()
	return &picture{b.Dx(), b.Dy(), 1, func(_, x, y int) color.RGBA {
		return color.RGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.RGBA)
	}}
}

// scaled is p in another size.
func (p *picture) scaled(w, h int) *picture {
	return &picture{w, h, p.frames, func(n, x, y int) color.RGBA {
		return p.at(n, x*p.w/w, y*p.h/h)
	}}
}

// inverted is the negative of p.
func (p *picture) inverted() *picture {
	return &picture{p.w, p.h, p.frames, func(n, x, y int) color.RGBA {
		c := p.at(n, x, y)
		return color.RGBA{255 - c.R, 255 - c.G, 255 - c.B, 255}
	}}
}

// A dream is a soft plasma of three colours, shaped by a number. Equal
// numbers dream equally.
type dream struct {
	seed   uint64
	colors [3][3]float64
	waves  [5]wave
}

type wave struct{ fx, fy, phase float64 }

func newDream(seed uint64) *dream {
	d := &dream{seed: seed}
	s := seed
	next := func() float64 { // splitmix64, between 0 and 1
		s += 0x9e3779b97f4a7c15
		z := s
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return float64((z^z>>31)>>11) / (1 << 53)
	}
	hue := next()
	for i := range d.colors {
		d.colors[i] = rgbOf(hue+float64(i)*(0.08+0.18*next()), 0.5+0.4*next(), 0.14+0.35*float64(i))
	}
	for i := range d.waves {
		turn, stretch := 2*math.Pi*next(), 2+7*next()*float64(i+1)/3
		d.waves[i] = wave{math.Cos(turn) * stretch, math.Sin(turn) * stretch, 2 * math.Pi * next()}
	}
	return d
}

// seedOf makes one number of texts and numbers.
func seedOf(text string, numbers ...uint64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	for _, n := range numbers {
		for range 8 {
			h.Write([]byte{byte(n)})
			n >>= 8
		}
	}
	return h.Sum64()
}

// picture paints the dream; over is what shines through it, nil for nothing,
// and strength how much of it the dream hides.
func (d *dream) picture(w, h, frames int, over *picture, strength float64) *picture {
	return &picture{w, h, frames, func(n, x, y int) color.RGBA {
		fx, fy := float64(x)/float64(max(w, h)), float64(y)/float64(max(w, h))
		c := d.color(fx, fy, float64(n)*0.35)
		if over == nil {
			return c
		}
		under := over.at(n%over.frames, x*over.w/w, y*over.h/h)
		mix := func(a, b uint8) uint8 { return uint8(float64(a)*(1-strength) + float64(b)*strength) }
		return color.RGBA{mix(under.R, c.R), mix(under.G, c.G), mix(under.B, c.B), 255}
	}}
}

func (d *dream) color(x, y, t float64) color.RGBA {
	bend := sine(d.waves[0].fx*x + d.waves[0].fy*y + d.waves[0].phase + t)
	sum := 0.0
	for _, w := range d.waves[1:] {
		sum += sine(w.fx*x + w.fy*y + w.phase + 2*bend + t)
	}
	level := sum/float64(len(d.waves)-1) + 1 // 0 to 2
	from, to, share := d.colors[0], d.colors[1], level
	if level > 1 {
		from, to, share = d.colors[1], d.colors[2], level-1
	}
	mix := func(i int) uint8 { return uint8(255 * (from[i] + (to[i]-from[i])*share)) }
	return color.RGBA{mix(0), mix(1), mix(2), 255}
}

// sine is math.Sin to three digits, which is enough for colours.
func sine(x float64) float64 {
	x = x/(2*math.Pi) + 0.25
	x -= 0.5 + math.Floor(x)
	x *= 16 * (math.Abs(x) - 0.5)
	return -(x + 0.225*x*(math.Abs(x)-1))
}

func rgbOf(hue, saturation, lightness float64) [3]float64 {
	var c [3]float64
	a := saturation * min(lightness, 1-lightness)
	for i, n := range []float64{0, 8, 4} {
		k := math.Mod(n+12*hue, 12)
		c[i] = lightness - a*max(-1, min(k-3, 9-k, 1))
	}
	return c
}
