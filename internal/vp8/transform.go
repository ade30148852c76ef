package vp8

// transform returns the coefficients of the difference between two blocks of
// 4 x 4 pixels.
func transform(src, pred []uint8, stride int) (out [16]int32) {
	var t [16]int32
	for y := range 4 {
		s, p := src[y*stride:y*stride+4], pred[y*stride:y*stride+4]
		d0, d1 := int32(s[0])-int32(p[0]), int32(s[1])-int32(p[1])
		d2, d3 := int32(s[2])-int32(p[2]), int32(s[3])-int32(p[3])
		sum, mid, turn, edge := d0+d3, d1+d2, d1-d2, d0-d3
		t[4*y] = (sum + mid) << 3
		t[4*y+1] = (turn*2217 + edge*5352 + 1812) >> 9
		t[4*y+2] = (sum - mid) << 3
		t[4*y+3] = (edge*2217 - turn*5352 + 937) >> 9
	}
	for x := range 4 {
		sum, mid := t[x]+t[12+x], t[4+x]+t[8+x]
		turn, edge := t[4+x]-t[8+x], t[x]-t[12+x]
		out[x] = (sum + mid + 7) >> 4
		out[4+x] = (turn*2217 + edge*5352 + 12000) >> 16
		if edge != 0 {
			out[4+x]++
		}
		out[8+x] = (sum - mid + 7) >> 4
		out[12+x] = (edge*2217 - turn*5352 + 51000) >> 16
	}
	return out
}

// restore adds the difference that coefficients stand for to a block, as readers
// do it (RFC 6386, section 14.3).
func restore(c *[16]int32, dst []uint8, stride int) {
	var t [16]int32
	for x := range 4 {
		a, b := c[x]+c[8+x], c[x]-c[8+x]
		lo, hi := sine(c[4+x])-cosine(c[12+x]), cosine(c[4+x])+sine(c[12+x])
		t[x], t[4+x], t[8+x], t[12+x] = a+hi, b+lo, b-lo, a-hi
	}
	for y := range 4 {
		row, d := t[4*y:4*y+4], dst[y*stride:y*stride+4]
		a, b := row[0]+row[2]+4, row[0]-row[2]+4
		lo, hi := sine(row[1])-cosine(row[3]), cosine(row[1])+sine(row[3])
		d[0] = clip(int32(d[0]) + (a+hi)>>3)
		d[1] = clip(int32(d[1]) + (b+lo)>>3)
		d[2] = clip(int32(d[2]) + (b-lo)>>3)
		d[3] = clip(int32(d[3]) + (a-hi)>>3)
	}
}

// sine and cosine multiply by the root of 2 and that of an eighth of pi.
func sine(n int32) int32   { return n * 35468 >> 16 }
func cosine(n int32) int32 { return n + n*20091>>16 }

func clip(n int32) uint8 { return uint8(min(max(n, 0), 255)) }

// gather transforms the first coefficients of the 16 blocks of a macroblock.
func gather(in *[16]int32) (out [16]int32) {
	var t [16]int32
	for y := range 4 {
		r := in[4*y : 4*y+4]
		a, b, c, d := r[0]+r[2], r[1]+r[3], r[1]-r[3], r[0]-r[2]
		t[4*y], t[4*y+1], t[4*y+2], t[4*y+3] = a+b, d+c, d-c, a-b
	}
	for x := range 4 {
		a, b, c, d := t[x]+t[8+x], t[4+x]+t[12+x], t[4+x]-t[12+x], t[x]-t[8+x]
		out[x], out[4+x], out[8+x], out[12+x] = (a+b)>>1, (d+c)>>1, (d-c)>>1, (a-b)>>1
	}
	return out
}

// scatter is the way back, as readers go it.
func scatter(in *[16]int32) (out [16]int32) {
	var t [16]int32
	for x := range 4 {
		a, b, c, d := in[x]+in[12+x], in[4+x]+in[8+x], in[4+x]-in[8+x], in[x]-in[12+x]
		t[x], t[4+x], t[8+x], t[12+x] = a+b, d+c, a-b, d-c
	}
	for y := range 4 {
		r := t[4*y : 4*y+4]
		a, b, c, d := r[0]+r[3]+3, r[1]+r[2], r[1]-r[2], r[0]-r[3]+3
		out[4*y], out[4*y+1], out[4*y+2], out[4*y+3] = (a+b)>>3, (d+c)>>3, (a-b)>>3, (d-c)>>3
	}
	return out
}

// steps are those between the levels of a kind of block: of its first coefficient,
// and of the others.
type steps [2]int32

// stepsOf returns those of Y, Y2, and U and V.
func stepsOf(index int) (y, y2, uv steps) {
	dc, ac := stepsDC[index], stepsAC[index]
	return steps{dc, ac}, steps{2 * dc, max(8, ac*155/100)}, steps{min(dc, 132), ac}
}

// quantize turns coefficients into levels, in the order of writing, and into what
// readers make of them. Those before first stay as they are.
func (s steps) quantize(c *[16]int32, first int) (levels [16]int32) {
	for i := first; i < 16; i++ {
		at := zigzag[i]
		step, round := s[min(i, 1)], s[min(i, 1)]*3/8
		if i == 0 {
			round = step / 2
		}
		level := min((max(c[at], -c[at])+round)/step, largest)
		if c[at] < 0 {
			level = -level
		}
		levels[i], c[at] = level, level*step
	}
	return levels
}
