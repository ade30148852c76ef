package media

import (
	"bytes"
	"encoding/binary"
)

func readWAV(c *cursor, info *Info) {
	c.skip(12)
	perSecond := uint64(0)
	for !c.ended() {
		kind, length := c.text4(), int64(c.le32())
		end := c.at + length + length&1
		switch kind {
		case "fmt ":
			perSecond = uint64(binary.LittleEndian.Uint32(c.next(12)[8:]))
		case "data":
			info.Duration = lasting(uint64(min(length, c.size-c.at)), perSecond) // a recorder that was cut off tells too much
			return
		}
		c.until(end)
	}
}

func readFLAC(c *cursor, info *Info) {
	info.MIME = "audio/flac" // also where nothing follows the first block
	c.skip(4)
	if c.byte()&0x7f != 0 {
		return
	}
	c.skip(3 + 10)
	bits := c.be64() // 20 bits of rate, 8 of others, 36 of samples
	info.Duration = lasting(bits&(1<<36-1), bits>>44)
}

// readOgg takes the place that the last page tells. A file that cannot seek is
// too long to be read for it.
func readOgg(c *cursor, info *Info) {
	head := c.peek(128)
	var perSecond, before uint64
	switch at := bytes.Index(head, []byte("OpusHead")); {
	case at >= 0 && len(head) >= at+12:
		perSecond, before = 48000, uint64(le16(head[at+10:]))
	default:
		at = bytes.Index(head, []byte("\x01vorbis"))
		if at < 0 || len(head) < at+16 {
			return
		}
		perSecond = uint64(binary.LittleEndian.Uint32(head[at+12:]))
	}
	const page = 65307 // the longest there is
	if c.size > page {
		c.until(c.size - page)
	}
	var tail []byte
	for !c.ended() && c.at < c.size {
		tail = append(tail, c.next(int(min(window, c.size-c.at)))...)
	}
	at := bytes.LastIndex(tail, []byte("OggS"))
	if at < 0 || len(tail) < at+14 {
		return
	}
	if last := binary.LittleEndian.Uint64(tail[at+6:]); last > before {
		info.Duration = lasting(last-before, perSecond)
	}
}

// frameHead is the head of a frame of MP3.
type frameHead struct {
	old, mono          bool // MPEG 2 and 2.5; one channel
	bitrate, perSecond uint64
}

var (
	bitratesNew = [16]uint64{1: 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
	bitratesOld = [16]uint64{1: 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
	ratesOfMP3  = [4]uint64{44100, 48000, 32000, 0}
)

// parseFrameHead reads the first four bytes of a frame; ok is false where they
// are none.
func parseFrameHead(b []byte) (h frameHead, ok bool) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe6 != 0xe2 || b[1]>>3&3 == 1 { // layer III of a known version
		return h, false
	}
	version := b[1] >> 3 & 3 // 3 is 1, 2 is 2, 0 is 2.5
	h.old, h.mono = version != 3, b[3]>>6 == 3
	h.bitrate = bitratesNew[b[2]>>4]
	h.perSecond = ratesOfMP3[b[2]>>2&3]
	if h.old {
		h.bitrate = bitratesOld[b[2]>>4]
		h.perSecond /= 2
	}
	if version == 0 {
		h.perSecond /= 2
	}
	return h, h.bitrate > 0 && h.perSecond > 0
}

func (h frameHead) samples() uint64 {
	if h.old {
		return 576
	}
	return 1152
}

// sideBytes is what stands between the head and the table of a variable rate.
func (h frameHead) sideBytes() int {
	switch {
	case h.old && h.mono:
		return 9
	case h.old || h.mono:
		return 17
	}
	return 32
}

func isMP3(head []byte) bool {
	_, ok := parseFrameHead(head)
	return ok || begins("ID3")(head)
}

// readMP3 takes the number of frames that encoders write into the first one, and
// else what the rate of the first one makes of the file's size.
func readMP3(c *cursor, info *Info) {
	if begins("ID3")(c.peek(3)) {
		tag := c.next(10)
		c.skip(int64(tag[6]&0x7f)<<21 | int64(tag[7]&0x7f)<<14 | int64(tag[8]&0x7f)<<7 | int64(tag[9]&0x7f))
	}
	begin := c.at
	h, ok := parseFrameHead(c.peek(4))
	if !ok {
		return
	}
	c.skip(4 + int64(h.sideBytes()))
	if mark := c.text4(); (mark == "Xing" || mark == "Info") && c.be32()&1 != 0 {
		info.Duration = lasting(uint64(c.be32())*h.samples(), h.perSecond)
		return
	}
	info.Duration = lasting(uint64(max(0, c.size-begin))*8, h.bitrate*1000)
}
