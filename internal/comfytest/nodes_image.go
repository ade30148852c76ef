package comfytest

import (
	"image"
	"image/color"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func imageClasses(gen generation) []class {
	size := []input{intIn("width", 512, 1, 16384), intIn("height", 512, 1, 16384)}
	size[0].options.set("step", 1)
	size[1].options.set("step", 1)
	classes := []class{
		{name: "EmptyImage", category: "image",
			inputs: append(slices.Clone(size), intIn("batch_size", 1, 1, 4096), intIn("color", 0, 0, 0xffffff)), returns: []string{"IMAGE"},
			run: func(k *call) (*result, error) {
				rgb := k.int("color", 0)
				return returns(plain(k.int("width", 512), k.int("height", 512), k.int("batch_size", 1),
					color.RGBA{uint8(rgb >> 16), uint8(rgb >> 8), uint8(rgb), 255}))
			}},
		{name: "ImageScale", title: "Upscale Image", category: "image/upscaling",
			inputs: []input{linkIn("image", "IMAGE"), comboIn("upscale_method", "nearest-exact", "bilinear", "area", "bicubic", "lanczos"),
				intIn("width", 512, 0, 16384), intIn("height", 512, 0, 16384), comboIn("crop", "disabled", "center")},
			returns: []string{"IMAGE"},
			run: func(k *call) (*result, error) {
				p, err := k.picture("image")
				if err != nil {
					return nil, err
				}
				return returns(p.scaled(max(1, k.int("width", 512)), max(1, k.int("height", 512))))
			}},
		{name: "ImageInvert", title: "Invert Image", category: "image",
			inputs: []input{linkIn("image", "IMAGE")}, returns: []string{"IMAGE"},
			run: func(k *call) (*result, error) {
				p, err := k.picture("image")
				if err != nil {
					return nil, err
				}
				return returns(p.inverted())
			}},
		{name: "LoadImage", title: "Load Image", category: "image",
			inputs: []input{{name: "image", kind: "COMBO", from: inputFiles, options: obj("image_upload", true)}}, returns: []string{"IMAGE", "MASK"},
			check: checkInputFile("image"), changed: fileState("image"), run: loadImage},
		{name: "LoadImageMask", title: "Load Image (as Mask)", category: "mask",
			inputs:  []input{{name: "image", kind: "COMBO", from: inputFiles, options: obj("image_upload", true)}, comboIn("channel", "alpha", "red", "green", "blue")},
			returns: []string{"MASK"}, check: checkInputFile("image"), changed: fileState("image"), run: loadImage},
	}
	if gen.newNodes {
		classes = append(classes, class{name: "ImageCropV2", category: "image/transform",
			inputs: []input{linkIn("image", "IMAGE"), linkIn("crop_region", "BOUNDING_BOX")}, returns: []string{"IMAGE"}, run: cropImage})
	}
	return classes
}

// cropImage shows its picture although it is no output node.
func cropImage(k *call) (*result, error) {
	p, err := k.picture("image")
	if err != nil {
		return nil, err
	}
	region, _ := k.in.get("crop_region").(*object)
	at := func(name string) int { n, _ := toInt(region.get(name)); return int(n) }
	x, y := at("x"), at("y")
	cut := &picture{max(1, at("width")), max(1, at("height")), p.frames, func(n, px, py int) color.RGBA {
		return p.at(n, min(px+x, p.w-1), min(py+y, p.h-1))
	}}
	files, err := k.saveFrames("temp", "ComfyUI_temp_"+randomLetters(5), cut)
	if err != nil {
		return nil, err
	}
	return &result{values: []any{cut}, ui: obj("images", files, "animated", []any{false})}, nil
}

func inputFiles(c *Comfy) []string {
	var names []string
	entries, _ := os.ReadDir(c.cfg.InputDir)
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names
}

// inputPath finds the file that an input names, which may name another
// directory with a suffix: "a.png [output]".
func (c *Comfy) inputPath(name string) (root, path string) {
	root = c.cfg.InputDir
	for suffix, dir := range map[string]string{" [output]": c.cfg.OutputDir, " [temp]": c.cfg.TempDir, " [input]": c.cfg.InputDir} {
		if rest, ok := strings.CutSuffix(name, suffix); ok {
			name, root = rest, dir
		}
	}
	if filepath.IsAbs(name) {
		return root, filepath.Clean(name)
	}
	return root, filepath.Join(root, name)
}

// checkInputFile is the own validation of LoadImage and LoadAudio: the file has
// to exist, and in the newer generation it has to lie in its directory.
func checkInputFile(field string) func(*Comfy, *object) (string, string) {
	return func(c *Comfy, in *object) (string, string) {
		name, _ := in.get(field).(string)
		root, path := c.inputPath(name)
		_, err := os.Stat(path)
		if err != nil || c.gen.jailed && !within(resolved(root), resolved(path)) {
			return field, "Invalid " + field + " file: " + name
		}
		return "", ""
	}
}

// fileState makes a loader run anew when its file has changed.
func fileState(field string) func(*Comfy, *object) any {
	return func(c *Comfy, in *object) any {
		name, _ := in.get(field).(string)
		_, path := c.inputPath(name)
		info, err := os.Stat(path)
		if err != nil {
			return nil
		}
		return []any{info.Size(), info.ModTime().UnixNano()}
	}
}

func loadImage(k *call) (*result, error) {
	_, path := k.c.inputPath(k.text("image"))
	f, err := os.Open(path)
	if err != nil {
		return nil, &exception{"FileNotFoundError", "[Errno 2] No such file or directory: '" + path + "'"}
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		return nil, &exception{"PIL.UnidentifiedImageError", "cannot identify image file '" + path + "'"}
	}
	p := photo(img)
	mask := plain(p.w, p.h, 1, color.RGBA{0, 0, 0, 255})
	if len(k.class.returns) == 1 {
		return returns(mask)
	}
	return returns(p, mask)
}
