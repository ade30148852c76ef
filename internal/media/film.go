package media

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"
)

// boxes goes through the boxes of an ISO file up to a place. Visit is told the
// kind of each and where it ends, and need not read it.
func (c *cursor) boxes(end int64, visit func(kind string, end int64)) {
	for !c.ended() && c.at+8 <= end {
		begin := c.at
		size, kind := int64(c.be32()), c.text4()
		switch size {
		case 0: // the last one
			size = end - begin
		case 1:
			size = int64(c.be64() & math.MaxInt64)
		}
		if size < c.at-begin || size > end-begin {
			return
		}
		visit(kind, begin+size)
		c.until(begin + size)
	}
}

// inside goes into a box.
func (c *cursor) inside(visit func(kind string, end int64)) func(end int64) {
	return func(end int64) { c.boxes(end, visit) }
}

// readBoxes reads the size and the length of MP4, MOV and their kin, and the
// size of AVIF and HEIF.
func readBoxes(c *cursor, info *Info) {
	c.boxes(c.size, func(kind string, end int64) {
		switch kind {
		case "moov":
			readMovie(c, info, end)
		case "meta":
			c.skip(4)
			c.boxes(end, func(kind string, end int64) {
				if kind == "iprp" {
					readProperties(c, info, end)
				}
			})
		}
	})
}

// readProperties takes the largest of the sizes that stand there: thumbnails and
// tiles have smaller ones.
func readProperties(c *cursor, info *Info, end int64) {
	c.boxes(end, func(kind string, end int64) {
		if kind != "ipco" {
			return
		}
		c.boxes(end, func(kind string, _ int64) {
			if kind != "ispe" {
				return
			}
			c.skip(4)
			width, height := c.be32(), c.be32()
			if uint64(width)*uint64(height) > uint64(info.Width)*uint64(info.Height) {
				info.Width, info.Height, info.Frames = int64(width), int64(height), 1
			}
		})
	})
}

func readMovie(c *cursor, info *Info, end int64) {
	c.boxes(end, func(kind string, end int64) {
		switch kind {
		case "mvhd":
			long := c.byte() == 1
			c.skip(3)
			var perSecond, ticks uint64
			if long {
				c.skip(16)
				perSecond, ticks = uint64(c.be32()), c.be64()
			} else {
				c.skip(8)
				perSecond, ticks = uint64(c.be32()), uint64(c.be32())
				if ticks == math.MaxUint32 { // not known
					ticks = 0
				}
			}
			info.Duration = lasting(ticks, perSecond)
		case "trak":
			if t := readTrack(c, end); t.film && t.width*t.height > info.Width*info.Height {
				info.Width, info.Height, info.Frames = t.width, t.height, t.frames
			}
		}
	})
}

// track is one of a film's.
type track struct {
	film          bool
	width, height int64
	frames        int
}

func readTrack(c *cursor, end int64) (t track) {
	samples := c.inside(func(kind string, _ int64) {
		if kind == "stsz" {
			c.skip(8)
			t.frames = int(c.be32())
		}
	})
	table := c.inside(func(kind string, end int64) {
		if kind == "stbl" {
			samples(end)
		}
	})
	content := c.inside(func(kind string, end int64) {
		switch kind {
		case "hdlr":
			c.skip(8)
			t.film = c.text4() == "vide"
		case "minf":
			table(end)
		}
	})
	c.boxes(end, func(kind string, end int64) {
		switch kind {
		case "tkhd":
			c.until(end - 8)
			t.width, t.height = int64(c.be32()>>16), int64(c.be32()>>16)
		case "mdia":
			content(end)
		}
	})
	return t
}

// Ids of the elements of Matroska and WebM.
const (
	idHeader    = 0x1a45dfa3
	idSegment   = 0x18538067
	idInfo      = 0x1549a966
	idScale     = 0x2ad7b1
	idDuration  = 0x4489
	idTracks    = 0x1654ae6b
	idTrack     = 0xae
	idVideo     = 0xe0
	idWidth     = 0xb0
	idHeight    = 0xba
	idCluster   = 0x1f43b675
	elementSize = 8 // of a number, at most
)

// elements goes through the elements up to a place, as boxes does.
func (c *cursor) elements(end int64, visit func(id uint64, end int64)) {
	for !c.ended() && c.at < end {
		id := c.varint(false)
		size := int64(c.varint(true))
		if c.ended() || c.at > end || id == idCluster { // the film itself
			return
		}
		stop := end
		if size >= 0 && size <= end-c.at {
			stop = c.at + size
		}
		visit(id, stop)
		c.until(stop)
	}
}

// varint reads a number that tells its own length. The length is part of an id,
// and not of a size. A size that is not known is all ones, which is large.
func (c *cursor) varint(size bool) uint64 {
	first := c.byte()
	more := bits.LeadingZeros8(first)
	if more == 8 {
		return 0
	}
	n := uint64(first)
	if size {
		n &= 1<<(7-more) - 1
	}
	for _, b := range c.next(more) {
		n = n<<8 | uint64(b)
	}
	return n
}

// readMatroska reads the size and the length of Matroska and WebM.
func readMatroska(c *cursor, info *Info) {
	scale, ticks := uint64(time.Millisecond), 0.0
	video := func(id uint64, end int64) {
		switch id {
		case idWidth:
			info.Width = int64(c.number(end))
		case idHeight:
			info.Height = int64(c.number(end))
		}
	}
	track := func(id uint64, end int64) {
		if id == idVideo && info.Width == 0 {
			c.elements(end, video)
		}
	}
	segment := func(id uint64, end int64) {
		switch id {
		case idInfo:
			c.elements(end, func(id uint64, end int64) {
				switch id {
				case idScale:
					scale = c.number(end)
				case idDuration:
					ticks = c.float(end)
				}
			})
		case idTracks:
			c.elements(end, func(id uint64, end int64) {
				if id == idTrack {
					c.elements(end, track)
				}
			})
		}
	}
	c.elements(c.size, func(id uint64, end int64) {
		if id == idSegment {
			c.elements(end, segment)
		}
	})
	if length := ticks * float64(scale); length > 0 && length < float64(longest) {
		info.Duration = time.Duration(length)
	}
}

// number reads a number that ends there.
func (c *cursor) number(end int64) (n uint64) {
	for _, b := range c.next(int(min(end-c.at, elementSize))) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (c *cursor) float(end int64) float64 {
	switch b := c.next(int(min(end-c.at, elementSize))); len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}
