package comfytest

import (
	"bytes"
	"image/png"
	"io"
	"sync"
)

func saveClasses(gen generation) []class {
	prefix := textIn("filename_prefix", "ComfyUI")
	classes := []class{
		{name: "SaveImage", title: "Save Image", category: "image", output: true,
			inputs: []input{{name: "images", kind: "IMAGE", options: obj("tooltip", "The images to save.")}, prefix},
			run:    func(k *call) (*result, error) { return k.saveImages("output", k.text("filename_prefix")) }},
		{name: "PreviewImage", title: "Preview Image", category: "image", output: true,
			inputs: []input{linkIn("images", "IMAGE")},
			run: func(k *call) (*result, error) {
				return k.saveImages("temp", "ComfyUI_temp_"+randomLetters(5))
			}},
		{name: "SaveAnimatedPNG", category: "image/animation", output: true,
			inputs: []input{linkIn("images", "IMAGE"), prefix, floatIn("fps", 6, 0.01, 1000), intIn("compress_level", 4, 0, 9)},
			run:    func(k *call) (*result, error) { return k.saveAnimation("png") }},
		{name: "SaveAnimatedWEBP", category: "image/animation", output: true,
			inputs: []input{linkIn("images", "IMAGE"), prefix, floatIn("fps", 6, 0.01, 1000), boolIn("lossless", true),
				intIn("quality", 80, 0, 100), comboIn("method", "default", "fastest", "slowest")},
			run: func(k *call) (*result, error) { return k.saveAnimation("webp") }},
		{name: "SaveWEBM", category: "image/video", output: true,
			inputs: []input{linkIn("images", "IMAGE"), prefix, comboIn("codec", "vp9", "av1"), floatIn("fps", 24, 0.01, 1000), floatIn("crf", 32, 0, 63)},
			run:    func(k *call) (*result, error) { return k.saveAnimation("webm") }},
		{name: "SaveImageWebsocket", category: "api/image", output: true,
			inputs: []input{linkIn("images", "IMAGE")}, run: saveToSocket,
			changed: func(*Comfy, *object) any { return randomLetters(12) }},
	}
	if gen.newNodes { // save nodes got an output socket
		for i := range classes[:2] {
			classes[i].returns = []string{"IMAGE"}
		}
		classes = append(classes, class{name: "SaveImageAdvanced", category: "image", output: true, returns: []string{"IMAGE"},
			inputs: []input{linkIn("images", "IMAGE"), prefix, comboIn("format", "png")}, run: saveImageAdvanced})
	}
	return classes
}

// saveFrames writes each frame of p as a PNG.
func (k *call) saveFrames(kind, prefix string, p *picture) ([]any, error) {
	at, err := k.place(kind, prefix, p.w, p.h)
	if err != nil {
		return nil, err
	}
	return k.framesAt(at, p)
}

func (k *call) framesAt(at *place, p *picture) ([]any, error) {
	files := []any{}
	for n := range p.frames {
		file, err := k.save(at, "png", func(w io.Writer) error { return encodePNG(w, p, n) })
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func encodePNG(w io.Writer, p *picture, frame int) error {
	e := png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &pngBuffers}
	return e.Encode(w, p.frame(frame))
}

// pngBuffers are those of encoders that have done their work.
var pngBuffers encoderBuffers

type encoderBuffers struct{ pool sync.Pool }

func (b *encoderBuffers) Get() *png.EncoderBuffer {
	buffer, _ := b.pool.Get().(*png.EncoderBuffer)
	return buffer
}

func (b *encoderBuffers) Put(buffer *png.EncoderBuffer) { b.pool.Put(buffer) }

func (k *call) saveImages(kind, prefix string) (*result, error) {
	p, err := k.picture("images")
	if err != nil {
		return nil, err
	}
	files, err := k.saveFrames(kind, prefix, p)
	if err != nil {
		return nil, err
	}
	return &result{values: []any{p}, ui: obj("images", files)}, nil
}

// saveImageAdvanced leaves the _ after the number out.
func saveImageAdvanced(k *call) (*result, error) {
	p, err := k.picture("images")
	if err != nil {
		return nil, err
	}
	at, err := k.place("output", k.text("filename_prefix"), p.w, p.h)
	if err != nil {
		return nil, err
	}
	at.bare = true
	files, err := k.framesAt(at, p)
	if err != nil {
		return nil, err
	}
	return &result{values: []any{p}, ui: obj("images", files)}, nil
}

// saveAnimation writes one file for all frames. Its pictures are not decoded
// by anybody here, so only the first bytes are what they say.
func (k *call) saveAnimation(ext string) (*result, error) {
	p, err := k.picture("images")
	if err != nil {
		return nil, err
	}
	at, err := k.place("output", k.text("filename_prefix"), p.w, p.h)
	if err != nil {
		return nil, err
	}
	file, err := k.save(at, ext, func(w io.Writer) error {
		if ext == "png" {
			return encodePNG(w, p, 0)
		}
		return media(w, ext, seedOf(ext, uint64(p.w), uint64(p.h), uint64(p.frames)), 4096)
	})
	if err != nil {
		return nil, err
	}
	return shows("images", []any{file}, "animated", []any{true})
}

// saveToSocket sends the pictures to the client and keeps nothing.
func saveToSocket(k *call) (*result, error) {
	p, err := k.picture("images")
	if err != nil {
		return nil, err
	}
	for n := range p.frames {
		var b bytes.Buffer
		if err := encodePNG(&b, p, n); err != nil {
			return nil, err
		}
		k.run.progress.step(k.id, n, p.frames, nil)
		k.c.hub.post(outgoing{to: k.run.owner(), preview: &preview{kind: framePreview, format: imagePNG, data: b.Bytes(),
			meta: obj("node_id", k.id, "prompt_id", k.run.p.id, "display_node_id", k.id, "parent_node_id", nil, "real_node_id", k.id, "image_type", "image/png")}})
	}
	return &result{}, nil
}
