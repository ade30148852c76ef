package convert

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
)

func TestTouches(t *testing.T) {
	tests := []struct {
		name string
		f    Format
		s    Source
		want bool
	}{
		{"nothing is wanted", Format{}, Source{"image/png", 64, 64, 1}, false},
		{"the original is wanted", Format{Name: Original, Quality: 5}, Source{"image/png", 64, 64, 1}, false},
		{"another format", Format{Name: JPEG}, Source{"image/png", 64, 64, 1}, true},
		{"the same format", Format{Name: JPEG, Quality: 5}, Source{"image/jpeg", 64, 64, 1}, false},
		{"too wide", Format{MaxEdge: 63}, Source{"image/png", 64, 8, 1}, true},
		{"too high", Format{Name: PNG, MaxEdge: 63}, Source{"image/png", 8, 64, 1}, true},
		{"small enough", Format{Name: PNG, MaxEdge: 64}, Source{"image/png", 64, 64, 1}, false},
		{"a film", Format{Name: JPEG, MaxEdge: 8}, Source{"video/mp4", 64, 64, 12}, false},
		{"sound", Format{Name: JPEG}, Source{MIME: "audio/flac"}, false},
		{"an animation of the format", Format{Name: PNG}, Source{"image/apng", 64, 64, 12}, false},
		{"vector graphics", Format{Name: JPEG}, Source{MIME: "image/svg+xml"}, false},
		{"an animation, which is then refused", Format{Name: JPEG}, Source{"image/webp", 64, 64, 12}, true},
	}
	for _, tt := range tests {
		if got := tt.f.Touches(tt.s); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for want, s := range map[string]Source{
		"":                      {"image/png", 10000, 10000, 1},
		"animation":             {"image/webp", 64, 64, 2},
		"an animation, ":        {"image/apng", 64, 64, 0},
		"it is an animation":    {"image/gif", 64, 64, 0},
		"image/avif cannot be":  {"image/avif", 64, 64, 1},
		"size cannot be read":   {"image/jpeg", 0, 0, 0},
		"10001 x 10000 pixels":  {"image/png", 10001, 10000, 1},
		"4294967295 x 42949672": {"image/png", math.MaxUint32, math.MaxUint32, 1},
	} {
		err := Check(s)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, tt := range []struct{ edge, w, h, wantW, wantH int }{
		{0, 100, 50, 100, 50}, {100, 100, 50, 100, 50}, {50, 100, 50, 50, 25}, {50, 50, 100, 25, 50},
		{1, 1000, 3, 1, 1}, {1024, 1920, 1080, 1024, 576}, {200, 100, 50, 100, 50}, {3, 7, 5, 3, 2},
	} {
		if w, h := (Format{MaxEdge: tt.edge}).size(tt.w, tt.h); w != tt.wantW || h != tt.wantH {
			t.Errorf("%d x %d to %d: %d x %d, want %d x %d", tt.w, tt.h, tt.edge, w, h, tt.wantW, tt.wantH)
		}
	}
}

// scene is a picture with soft and with hard edges.
func scene(w, h int, alpha uint8) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{uint8(255 * x / w), uint8(255 * y / h), uint8(128 + 100*math.Sin(float64(x+2*y)/9)), alpha}
			if (x/16+y/16)%7 == 0 {
				c = color.NRGBA{250, 240, 20, alpha}
			}
			img.SetNRGBA(x, y, c)
		}
	}
	return img
}

func encoded(t testing.TB, mime string, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch mime {
	case "image/png":
		err = png.Encode(&b, img)
	case "image/jpeg":
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 95})
	case "image/gif":
		err = gif.Encode(&b, img, nil)
	case "image/bmp":
		err = bmp.Encode(&b, img)
	case "image/webp":
		err = Format{}.writeWebP(&b, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// difference is the mean error of a channel of two pictures of one size.
func difference(t testing.TB, a, b image.Image) float64 {
	t.Helper()
	if a.Bounds().Size() != b.Bounds().Size() {
		t.Fatalf("sizes %v and %v", a.Bounds(), b.Bounds())
	}
	sum, n := 0.0, 0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			p := color.NRGBAModel.Convert(a.At(a.Bounds().Min.X+x, a.Bounds().Min.Y+y)).(color.NRGBA)
			q := color.NRGBAModel.Convert(b.At(b.Bounds().Min.X+x, b.Bounds().Min.Y+y)).(color.NRGBA)
			for _, d := range []int{int(p.R) - int(q.R), int(p.G) - int(q.G), int(p.B) - int(q.B), int(p.A) - int(q.A)} {
				sum += math.Abs(float64(d))
				n++
			}
		}
	}
	return sum / float64(n)
}

// Every format that is read becomes every one that is written, and looks as before.
func TestWrite(t *testing.T) {
	img := scene(97, 61, 255)
	for mime := range decoders {
		for _, name := range []string{JPEG, PNG, WebP} {
			body := encoded(t, mime, img)
			var out bytes.Buffer
			got, err := Format{Name: name}.Write(&out, bytes.NewReader(body), Source{mime, 97, 61, 1})
			if err != nil {
				t.Errorf("%s to %s: %v", mime, name, err)
				continue
			}
			ext := map[string]string{JPEG: ".jpg", PNG: ".png", WebP: ".webp"}[name]
			if want := (Result{"image/" + name, ext, 97, 61, false}); got != want {
				t.Errorf("%s to %s: %+v, want %+v", mime, name, got, want)
			}
			back, err := Source{"image/" + name, 97, 61, 1}.read(&out)
			if err != nil {
				t.Errorf("%s to %s: the result cannot be read: %v", mime, name, err)
				continue
			}
			before, err := Source{mime, 97, 61, 1}.read(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(t, before, back); d > 15 { // dithered colours suffer most
				t.Errorf("%s to %s: the picture changed by %.1f a channel", mime, name, d)
			}
		}
	}
}

// What is transparent stays so where the format can, and is put on white in JPEG.
func TestTransparency(t *testing.T) {
	img := scene(64, 64, 255)
	for y := range 64 {
		for x := range 32 {
			img.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 0})
		}
	}
	body := encoded(t, "image/png", img)
	for _, f := range []Format{{Name: WebP, Quality: 50}, {MaxEdge: 32}, {Name: JPEG}} {
		var out bytes.Buffer
		got, err := f.Write(&out, bytes.NewReader(body), Source{"image/png", 64, 64, 1})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Source{got.MIME, int64(got.Width), int64(got.Height), 1}.read(&out)
		if err != nil {
			t.Fatal(err)
		}
		c := color.NRGBAModel.Convert(back.At(3, 3)).(color.NRGBA)
		switch jpeg := f.Name == JPEG; {
		case got.Flattened != jpeg:
			t.Errorf("%+v: flattened = %v", f, got.Flattened)
		case jpeg && (c.R < 250 || c.G < 250 || c.B < 250):
			t.Errorf("what was transparent is %+v in JPEG", c)
		case !jpeg && c.A != 0:
			t.Errorf("%+v: what was transparent is %+v", f, c)
		}
	}
}

// The mean of an area is exact, also where pixels are cut, and nothing of the
// colour behind transparent pixels comes through.
func TestScale(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 7, 8, 9)) // 3 x 2, not at the origin
	for x, v := range []uint8{30, 60, 90} {
		img.SetNRGBA(5+x, 7, color.NRGBA{v, v, v, 255})
		img.SetNRGBA(5+x, 8, color.NRGBA{200, 0, 0, 0})
	}
	got := scale(img, 2, 1)
	want := []uint8{20, 20, 20, 128, 40, 40, 40, 128} // (30 + 60/2) / 1.5 / 2, (60/2 + 90) / 1.5 / 2
	if !bytes.Equal(got.Pix, want) {
		t.Errorf("got %v, want %v", got.Pix, want)
	}
	if d := difference(t, scale(scene(256, 192, 255), 64, 48), scene(64, 48, 255)); d > 40 {
		t.Errorf("the smaller picture differs by %.1f", d)
	}
}

func TestWriteRefuses(t *testing.T) {
	body := encoded(t, "image/png", scene(64, 64, 255))
	for want, s := range map[string]struct {
		body []byte
		Source
	}{
		"decode image/png":     {body[:len(body)/2], Source{"image/png", 64, 64, 1}},
		"different sizes":      {body, Source{"image/png", 32, 64, 1}},
		"of different sizes":   {[]byte("BM\xfa\x00\xaa\x00\x00\x00\x00\x006\x00\x00\x00(\x00\x00\x00\t\x00\x00\x00\xfa\x00\x00\xfa\x01\x00\x18" + strings.Repeat("\x00", 25)), Source{"image/bmp", 9, 7, 1}}, // of 3 GB
		"decode image/jpeg":    {body, Source{"image/jpeg", 64, 64, 1}},
		"cannot be read here":  {body, Source{"image/tiff", 64, 64, 1}},
		"decode image/webp":    {[]byte("RIFF"), Source{"image/webp", 64, 64, 1}},
		"decode image/bmp: un": {[]byte("BM"), Source{"image/bmp", 64, 64, 1}},
	} {
		if _, err := (Format{Name: JPEG}).Write(io.Discard, bytes.NewReader(s.body), s.Source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestWebPIsBounded(t *testing.T) {
	body := encoded(t, "image/png", image.NewGray(image.Rect(0, 0, longestWebP+1, 1)))
	wide := image.NewGray(image.Rect(0, 0, longestWebP, mostLossless/longestWebP+1))
	if err := (Format{Quality: 100}).writeWebP(io.Discard, wide); err == nil || !strings.Contains(err.Error(), "at most 25 million") {
		t.Errorf("a large picture without loss: %v", err)
	}
	for quality, want := range map[int]string{80: "at most 16383 a side", 100: "at most 16383 a side"} {
		_, err := Format{Name: WebP, Quality: quality}.Write(io.Discard, bytes.NewReader(body), Source{"image/png", longestWebP + 1, 1, 1})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("quality %d: %v", quality, err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	img := scene(1024, 1024, 255)
	body := encoded(b, "image/png", img)
	for _, f := range []Format{{Name: JPEG}, {Name: WebP}, {Name: WebP, Quality: 100}, {Name: PNG, MaxEdge: 512}} {
		name := f.Name
		if f.Quality == 100 {
			name += " lossless"
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var out bytes.Buffer
				if _, err := f.Write(&out, bytes.NewReader(body), Source{"image/png", 1024, 1024, 1}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(out.Len()), "bytes")
			}
		})
	}
}

// Broken pictures are errors, and never more than their headers say.
func FuzzWrite(f *testing.F) {
	mimes := []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"}
	for i, mime := range mimes {
		f.Add(uint8(i), encoded(f, mime, scene(9, 7, 255)))
		f.Add(uint8(i), encoded(f, mime, scene(9, 7, 99)))
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		s := Source{mimes[int(kind)%len(mimes)], 9, 7, 1}
		for _, name := range []string{JPEG, PNG, WebP} {
			var out bytes.Buffer
			result, err := Format{Name: name, MaxEdge: 8}.Write(&out, bytes.NewReader(body), s)
			if err == nil && (result.Width != 8 || result.Height != 6 || out.Len() == 0) {
				t.Errorf("%s: %+v, %d bytes", name, result, out.Len())
			}
		}
	})
}
