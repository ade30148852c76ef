package vp8

import (
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math"
)

// longest is how many pixels a side may have.
const longest = 1<<14 - 1

// Encode writes an opaque picture as lossy WebP. Quality is between 0 and 100.
// What is transparent is black.
func Encode(w io.Writer, img image.Image, quality int) error {
	b := img.Bounds()
	if b.Dx() < 1 || b.Dy() < 1 || b.Dx() > longest || b.Dy() > longest {
		return errors.New("WebP has no pictures of this size")
	}
	e := newEncoder(frameOf(img), index(quality))
	e.run()
	return e.write(w)
}

// index is the one of the steps that a quality stands for. Equal qualities look
// much as they do with libwebp.
func index(quality int) int {
	share := float64(min(max(quality, 0), 100)) / 100
	if share < 0.75 {
		share *= 2.0 / 3
	} else {
		share = 2*share - 1
	}
	return int(math.Round(127 * (1 - math.Cbrt(share))))
}

// An encoder makes one frame.
type encoder struct {
	src, seen *frame // the picture, and what readers see before the loop filter
	index     int
	y, y2, uv steps
	tokens    *coder
	blocks    []decision
	above     []neighbours // of the macroblocks of the row above
	left      neighbours
}

// decision is what was decided of a macroblock.
type decision struct {
	bright, color uint8 // ways
	empty         bool  // it has no coefficients
}

// neighbours tells which blocks at an edge of a macroblock have coefficients:
// four of Y, two each of U and V, and Y2.
type neighbours struct {
	y  [4]bool
	uv [2][2]bool
	y2 bool
}

func newEncoder(src *frame, index int) *encoder {
	e := &encoder{src: src, seen: newFrame(src.width, src.height), index: index, tokens: newCoder()}
	e.y, e.y2, e.uv = stepsOf(index)
	e.above = make([]neighbours, src.across)
	e.blocks = make([]decision, 0, src.across*src.down)
	return e
}

func (e *encoder) run() {
	for my := range e.src.down {
		e.left = neighbours{}
		for mx := range e.src.across {
			e.macroblock(mx, my)
		}
	}
}

// choose predicts a macroblock of planes in the way that comes closest, and
// returns it.
func (e *encoder) choose(planes []int, mx, my int) uint8 {
	best, least := 0, math.MaxInt
	var around [2]edges
	for i, n := range planes {
		around[i] = e.seen.planes[n].edges(mx, my)
	}
	for way := range ways + 1 {
		if way == ways { // once more, to stay
			way = best
		}
		sum := 0
		for i, n := range planes {
			src, seen := e.src.planes[n], e.seen.planes[n]
			at := my*seen.side*seen.stride + mx*seen.side
			around[i].predict(way, seen.pix[at:], seen.stride, seen.side)
			sum += apart(src.pix[at:], seen.pix[at:], seen.stride, seen.side)
		}
		if sum < least {
			best, least = way, sum
		}
	}
	return uint8(best)
}

// levels are those of all blocks of a macroblock.
type levels struct {
	y2 [16]int32
	y  [16][16]int32
	uv [2][4][16]int32
}

func (e *encoder) macroblock(mx, my int) {
	d := decision{bright: e.choose([]int{0}, mx, my), color: e.choose([]int{1, 2}, mx, my)}
	var l levels
	e.bright(&l, mx, my)
	e.color(&l, mx, my)
	d.empty = l == levels{}
	e.blocks = append(e.blocks, d)
	if d.empty {
		e.above[mx], e.left = neighbours{}, neighbours{}
		return
	}
	e.put(&l, &e.above[mx])
}

// bright finds the levels of the brightness, and draws what readers see of them.
func (e *encoder) bright(l *levels, mx, my int) {
	src, seen := e.src.planes[0], e.seen.planes[0]
	at := 16 * (my*seen.stride + mx)
	var c [16][16]int32
	var firsts [16]int32
	place := func(i int) int { return at + i/4*4*seen.stride + i%4*4 }
	for i := range c {
		c[i] = transform(src.pix[place(i):], seen.pix[place(i):], seen.stride)
		firsts[i] = c[i][0]
		l.y[i] = e.y.quantize(&c[i], 1)
	}
	together := gather(&firsts)
	l.y2 = e.y2.quantize(&together, 0)
	firsts = scatter(&together)
	for i := range c {
		c[i][0] = firsts[i]
		restore(&c[i], seen.pix[place(i):], seen.stride)
	}
}

// color does the same for the colours.
func (e *encoder) color(l *levels, mx, my int) {
	for n := range 2 {
		src, seen := e.src.planes[1+n], e.seen.planes[1+n]
		at := 8 * (my*seen.stride + mx)
		for i := range 4 {
			at := at + i/2*4*seen.stride + i%2*4
			c := transform(src.pix[at:], seen.pix[at:], seen.stride)
			l.uv[n][i] = e.uv.quantize(&c, 0)
			restore(&c, seen.pix[at:], seen.stride)
		}
	}
}

// put writes the levels of a macroblock, each block with regard to those above and
// to the left of it.
func (e *encoder) put(l *levels, above *neighbours) {
	left := &e.left
	some := e.tokens.block(&l.y2, kindY2, 0, count(above.y2, left.y2))
	above.y2, left.y2 = some, some
	for i := range l.y {
		a, b := &above.y[i%4], &left.y[i/4]
		some := e.tokens.block(&l.y[i], kindYRest, 1, count(*a, *b))
		*a, *b = some, some
	}
	for n := range l.uv {
		for i := range l.uv[n] {
			a, b := &above.uv[n][i%2], &left.uv[n][i/2]
			some := e.tokens.block(&l.uv[n][i], kindUV, 0, count(*a, *b))
			*a, *b = some, some
		}
	}
}

func count(a, b bool) (n int) {
	if a {
		n++
	}
	if b {
		n++
	}
	return n
}

// header is the first part of the frame: what holds for all of it, and what was
// decided of each macroblock.
func (e *encoder) header() []byte {
	c := newCoder()
	c.number(0, 2) // the usual colours, which have to be clipped
	c.number(0, 1) // no segments
	c.number(0, 1) // the normal loop filter
	c.number(e.smoothing(), 6)
	c.number(0, 3+1)     // sharpness; the same for all
	c.number(0, 2)       // tokens stand in one part
	c.number(e.index, 7) // the steps
	c.number(0, 5)       // the same for all kinds of blocks
	c.number(0, 1)       // probabilities are of this frame alone
	for _, kind := range changes {
		for _, band := range kind {
			for _, before := range band {
				for _, p := range before {
					c.bit(false, p)
				}
			}
		}
	}
	empty := 0
	for _, d := range e.blocks {
		if d.empty {
			empty++
		}
	}
	full := uint8(min(max(255*(len(e.blocks)-empty)/len(e.blocks), 1), 255))
	c.number(1, 1) // empty macroblocks are marked
	c.number(int(full), 8)
	for _, d := range e.blocks {
		c.bit(d.empty, full)
		c.bit(true, 145) // one prediction for the whole macroblock
		if c.bit(d.bright >= fromLeft, 156) {
			c.bit(d.bright == fromBoth, 128)
		} else {
			c.bit(d.bright == fromAbove, 163)
		}
		if c.bit(d.color != fromMean, 142) && c.bit(d.color != fromAbove, 114) {
			c.bit(d.color == fromBoth, 183)
		}
	}
	return c.bytes()
}

// smoothing is the strength of the loop filter: more for larger steps.
func (e *encoder) smoothing() int { return min(63, int(e.y[1])/4) }

func (e *encoder) write(w io.Writer) error {
	header, tokens := e.header(), e.tokens.bytes()
	if len(header) >= 1<<19 {
		return errors.New("the picture has more macroblocks than WebP can describe")
	}
	tag := uint32(len(header))<<5 | 1<<4 // a key frame, to be shown
	head := []byte{byte(tag), byte(tag >> 8), byte(tag >> 16), 0x9d, 0x01, 0x2a}
	head = binary.LittleEndian.AppendUint16(head, uint16(e.src.width))
	head = binary.LittleEndian.AppendUint16(head, uint16(e.src.height))
	size := len(head) + len(header) + len(tokens)
	file := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(12+size+size%2))
	file = binary.LittleEndian.AppendUint32(append(file, "WEBPVP8 "...), uint32(size))
	for _, part := range [][]byte{file, head, header, tokens, make([]byte, size%2)} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
