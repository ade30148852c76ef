package vp8

// Ways in which a block is predicted from its neighbours.
const (
	fromMean  = iota // the mean of what is above and to the left
	fromAbove        // each column continues
	fromLeft         // each row continues
	fromBoth         // above and left, less the corner
	ways
)

// A plane is one channel of the picture, in whole macroblocks.
type plane struct {
	pix    []uint8
	stride int
	side   int // of a macroblock: 16, or 8 for colour
}

// edges are the pixels around a block. Outside of the picture they have values
// that readers know, too.
type edges struct {
	above, left       [16]uint8
	corner            uint8
	hasAbove, hasLeft bool
}

func (p *plane) edges(mx, my int) (e edges) {
	at := my*p.side*p.stride + mx*p.side
	e.hasAbove, e.hasLeft = my > 0, mx > 0
	for i := range p.side {
		e.above[i], e.left[i] = 127, 129
		if e.hasAbove {
			e.above[i] = p.pix[at-p.stride+i]
		}
		if e.hasLeft {
			e.left[i] = p.pix[at+i*p.stride-1]
		}
	}
	switch {
	case !e.hasAbove:
		e.corner = 127
	case !e.hasLeft:
		e.corner = 129
	default:
		e.corner = p.pix[at-p.stride-1]
	}
	return e
}

// predict fills a block of n x n pixels in the way named.
func (e *edges) predict(way int, dst []uint8, stride, n int) {
	mean := e.mean(n)
	for y := range n {
		row := dst[y*stride : y*stride+n]
		switch way {
		case fromMean:
			for x := range row {
				row[x] = mean
			}
		case fromAbove:
			copy(row, e.above[:n])
		case fromLeft:
			for x := range row {
				row[x] = e.left[y]
			}
		case fromBoth:
			for x := range row {
				row[x] = clip(int32(e.left[y]) + int32(e.above[x]) - int32(e.corner))
			}
		}
	}
}

func (e *edges) mean(n int) uint8 {
	sum, count := 0, 0
	for i := range n {
		if e.hasAbove {
			sum, count = sum+int(e.above[i]), count+1
		}
		if e.hasLeft {
			sum, count = sum+int(e.left[i]), count+1
		}
	}
	if count == 0 {
		return 128
	}
	return uint8((sum + count/2) / count)
}

// apart is how far two blocks are from one another.
func apart(a, b []uint8, stride, n int) (sum int) {
	for y := range n {
		p, q := a[y*stride:y*stride+n], b[y*stride:y*stride+n]
		for x, v := range p {
			d := int(v) - int(q[x])
			sum += d * d
		}
	}
	return sum
}
