package media

import (
	"bytes"
	"encoding/binary"
	"time"
)

// readPNG reads the size, and in an animation the number of frames and how long
// each is shown.
func readPNG(c *cursor, info *Info) {
	c.skip(8)
	for !c.ended() {
		length, kind := int64(c.be32()), c.text4()
		end := c.at + length + 4 // a checksum
		switch kind {
		case "IHDR":
			info.Width, info.Height = int64(c.be32()), int64(c.be32())
			info.Frames = 1
		case "acTL":
			info.Frames = int(c.be32())
		case "IDAT":
			if info.Frames == 1 {
				return
			}
		case "fcTL":
			c.skip(20)
			shown, perSecond := uint64(c.be16()), uint64(c.be16())
			if perSecond == 0 {
				perSecond = 100
			}
			info.Duration += lasting(shown, perSecond)
		case "IEND":
			return
		}
		c.until(end)
	}
}

// readJPEG finds the size, which stands behind whatever cameras and programs
// have put there.
func readJPEG(c *cursor, info *Info) {
	c.skip(2)
	for !c.ended() {
		switch marker := nextMarker(c); {
		case marker == 0xd9 || marker == 0xda: // the end, or pixels
			return
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd8: // nothing follows
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc: // a frame
			c.skip(3) // length and precision
			height, width := int64(c.be16()), int64(c.be16())
			if !c.ended() {
				info.Width, info.Height, info.Frames = width, height, 1
			}
			return
		default:
			length := max(0, int64(c.be16())-2) // if short, the next marker is the end
			if marker == 0xe1 {
				info.Turned = info.Turned || isTurned(c.peek(int(min(length, window))))
			}
			c.skip(length)
		}
	}
}

// isTurned looks for an orientation other than the plain one in Exif metadata.
func isTurned(exif []byte) bool {
	tiff, is := bytes.CutPrefix(exif, []byte("Exif\x00\x00"))
	if !is || len(tiff) < 8 {
		return false
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	at := order.Uint32(tiff[4:])
	if uint64(at)+2 > uint64(len(tiff)) {
		return false
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return false
		}
		if order.Uint16(entries) == 0x0112 {
			return order.Uint16(entries[8:]) > 1
		}
		entries = entries[12:]
	}
	return false
}

// nextMarker returns the next marker, that of the end when there is no more.
func nextMarker(c *cursor) byte {
	var last byte
	for {
		b := c.byte()
		switch {
		case c.ended():
			return 0xd9
		case last == 0xff && b != 0xff && b != 0:
			return b
		}
		last = b
	}
}

// readGIF reads the size and counts the frames.
func readGIF(c *cursor, info *Info) {
	c.skip(6)
	head := c.next(7)
	info.Width, info.Height = le16(head), le16(head[2:])
	skipColors(c, head[4])
	frames, shown := 0, time.Duration(0)
	for {
		switch c.byte() {
		case 0x2c: // a picture
			frames++
			flags := c.next(9)[8]
			skipColors(c, flags)
			c.skip(1)
			skipBlocks(c)
		case 0x21:
			if kind := c.byte(); kind == 0xf9 {
				if b := c.peek(4); len(b) == 4 {
					shown += time.Duration(le16(b[2:])) * 10 * time.Millisecond
				}
			}
			skipBlocks(c)
		case 0x3b:
			info.Frames = frames
			if frames > 1 {
				info.Duration = shown
			}
			return
		default:
			return // broken, or too long to be counted
		}
	}
}

// skipColors goes over the table of colours that flags announce.
func skipColors(c *cursor, flags byte) {
	if flags&0x80 != 0 {
		c.skip(3 << (flags&7 + 1))
	}
}

func skipBlocks(c *cursor) {
	for !c.ended() {
		length := c.byte()
		if length == 0 {
			return
		}
		c.skip(int64(length))
	}
}

// readWebP reads the size, and counts the frames of an animation.
func readWebP(c *cursor, info *Info) {
	c.skip(12)
	info.Frames = 1
	frames := 0
	for !c.ended() {
		kind, length := c.text4(), int64(c.le32())
		end := c.at + length + length&1
		switch kind {
		case "VP8X":
			head := c.next(10)
			if c.ended() {
				return
			}
			info.Width, info.Height = 1+le24(head[4:]), 1+le24(head[7:])
			if head[0]&0x02 == 0 {
				return
			}
			info.Frames = 0
		case "VP8L":
			bits := binary.LittleEndian.Uint32(c.next(5)[1:])
			if !c.ended() {
				info.Width, info.Height = 1+int64(bits&0x3fff), 1+int64(bits>>14&0x3fff)
			}
			return
		case "VP8 ":
			head := c.next(10)
			info.Width, info.Height = le16(head[6:])&0x3fff, le16(head[8:])&0x3fff
			return
		case "ANMF":
			frames++
			info.Duration += time.Duration(le24(c.next(16)[12:])) * time.Millisecond
		}
		c.until(end)
		if c.at >= c.size {
			info.Frames = frames
			return
		}
	}
}

func readBMP(c *cursor, info *Info) {
	head := c.next(26)
	switch size := binary.LittleEndian.Uint32(head[14:]); {
	case size == 12:
		info.Width, info.Height = le16(head[18:]), le16(head[20:])
	case size >= 40:
		info.Width, info.Height = absolute(head[18:]), absolute(head[22:]) // a negative height: top row first
	}
}

func absolute(b []byte) int64 {
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	return max(n, -n)
}

// readTIFF reads the size from the first directory.
func readTIFF(c *cursor, info *Info) {
	var order binary.ByteOrder = binary.LittleEndian
	if c.next(4)[0] == 'M' {
		order = binary.BigEndian
	}
	c.until(int64(order.Uint32(c.next(4))))
	for range order.Uint16(c.next(2)) {
		entry := c.next(12)
		value := int64(order.Uint32(entry[8:]))
		if order.Uint16(entry[2:]) == 3 { // 16 bits
			value = int64(order.Uint16(entry[8:]))
		}
		switch order.Uint16(entry) {
		case 256:
			info.Width = value
		case 257:
			info.Height = value
		}
		if c.ended() {
			return
		}
	}
}

func le16(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }

func le24(b []byte) int64 { return le16(b) | int64(b[2])<<16 }
