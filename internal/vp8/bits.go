package vp8

// A coder writes decisions of known probability (RFC 6386, section 7).
type coder struct {
	out    []byte
	span   uint32 // of what is left of the interval, 128 to 255
	bottom uint32 // of it
	room   int    // bits until the next byte is due
}

func newCoder() *coder { return &coder{span: 255, room: 24} }

// bit writes a decision that is false with a probability of p in 256, and returns it.
func (c *coder) bit(b bool, p uint8) bool {
	split := 1 + (c.span-1)*uint32(p)>>8
	if b {
		c.bottom += split
		c.span -= split
	} else {
		c.span = split
	}
	for c.span < 128 {
		c.span <<= 1
		if c.bottom&(1<<31) != 0 {
			c.carry()
		}
		c.bottom <<= 1
		if c.room--; c.room == 0 {
			c.out = append(c.out, byte(c.bottom>>24))
			c.bottom &= 1<<24 - 1
			c.room = 8
		}
	}
	return b
}

// carry adds one to what has been written.
func (c *coder) carry() {
	for i := len(c.out) - 1; i >= 0; i-- {
		c.out[i]++
		if c.out[i] != 0 {
			return
		}
	}
}

// number writes the lower bits of n, the highest first.
func (c *coder) number(n, bits int) {
	for i := bits - 1; i >= 0; i-- {
		c.bit(n>>i&1 != 0, 128)
	}
}

// bytes ends the writing.
func (c *coder) bytes() []byte {
	if c.bottom&(1<<(32-c.room)) != 0 {
		c.carry()
	}
	rest := c.bottom << (c.room & 7)
	for range c.room >> 3 {
		rest <<= 8
	}
	for range 4 {
		c.out = append(c.out, byte(rest>>24))
		rest <<= 8
	}
	return c.out
}

// Kinds of blocks, as the probabilities know them.
const (
	kindYRest = iota // without its first coefficient, which stands in Y2
	kindY2
	kindUV
)

// zigzag is the order of the coefficients of a block, and bands where they belong.
var (
	zigzag = [16]int{0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15}
	bands  = [17]int{0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 0}
)

// category is how the rest of a large level is written: its first value, and the
// probabilities of its bits.
type category struct {
	from  int32
	probs []uint8
}

var categories = []category{
	{5, []uint8{159}},
	{7, []uint8{165, 145}},
	{11, []uint8{173, 148, 140}},
	{19, []uint8{176, 155, 140, 135}},
	{35, []uint8{180, 157, 141, 134, 130}},
	{67, []uint8{254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129}},
}

// largest is the largest level that can be written.
const largest = 67 + 1<<11 - 1

// block writes the levels of a block, in their order, from first on, and tells
// whether there are any. Before is how many of its neighbours have some.
func (c *coder) block(levels *[16]int32, kind, first, before int) bool {
	last := 15
	for last >= first && levels[last] == 0 {
		last--
	}
	p := &usual[kind][bands[first]][before]
	if !c.bit(last >= first, p[0]) {
		return false
	}
	for i := first; ; {
		level := levels[i]
		i++
		switch {
		case !c.bit(level != 0, p[1]):
			p = &usual[kind][bands[i]][0]
			continue // no block ends with a zero
		default:
			next := 2
			if size := max(level, -level); c.bit(size > 1, p[2]) {
				c.large(size, p)
			} else {
				next = 1
			}
			c.bit(level < 0, 128)
			p = &usual[kind][bands[i]][next]
		}
		if i == 16 || !c.bit(i <= last, p[0]) {
			return true
		}
	}
}

// large writes the size of a level above 1.
func (c *coder) large(size int32, p *[11]uint8) {
	if !c.bit(size > 4, p[3]) {
		if c.bit(size > 2, p[4]) {
			c.bit(size > 3, p[5])
		}
		return
	}
	n := 0
	for n+1 < len(categories) && size >= categories[n+1].from {
		n++
	}
	if !c.bit(n > 1, p[6]) {
		c.bit(n > 0, p[7])
	} else if c.bit(n > 3, p[8]) {
		c.bit(n > 4, p[10])
	} else {
		c.bit(n > 2, p[9])
	}
	rest, probs := size-categories[n].from, categories[n].probs
	for i, p := range probs {
		c.bit(rest>>(len(probs)-1-i)&1 != 0, p)
	}
}
