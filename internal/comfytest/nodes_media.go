package comfytest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

func mediaClasses(gen generation) []class {
	prefix := textIn("filename_prefix", "ComfyUI")
	classes := []class{
		{name: "CreateVideo", title: "Create Video", category: "image/video",
			inputs: []input{linkIn("images", "IMAGE"), floatIn("fps", 30, 1, 120), linkIn("audio", "AUDIO").maybe()}, returns: []string{"VIDEO"},
			run: func(k *call) (*result, error) { return returns(k.in.get("images")) }},
		{name: "SaveVideo", title: "Save Video", category: "image/video", output: true,
			inputs: []input{linkIn("video", "VIDEO"), prefix, comboIn("format", "auto", "mp4"), comboIn("codec", "auto", "h264")},
			run: func(k *call) (*result, error) {
				k.in.set("images", k.in.get("video"))
				return k.saveAnimation("mp4")
			}},
		{name: "VHS_VideoCombine", title: "Video Combine", category: "Video Helper Suite", output: true,
			inputs: []input{linkIn("images", "IMAGE"), floatIn("frame_rate", 8, 1, 1000), intIn("loop_count", 0, 0, 100), prefix,
				comboIn("format", "image/gif", "image/webp", "video/h264-mp4", "video/webm"), boolIn("pingpong", false), boolIn("save_output", true), linkIn("audio", "AUDIO").maybe()},
			returns: []string{"VHS_FILENAMES"}, run: combineVideo},
		{name: "SimTone", category: "simulator", inputs: []input{floatIn("seconds", 1, 0, 600), seedIn()}, returns: []string{"AUDIO"},
			run: func(k *call) (*result, error) { return returns("tone " + pyStr(k.in.get("seed"))) }},
		{name: "LoadAudio", title: "Load Audio", category: "audio",
			inputs: []input{{name: "audio", kind: "COMBO", from: inputFiles, options: obj("audio_upload", true)}}, returns: []string{"AUDIO"},
			check: checkInputFile("audio"), changed: fileState("audio"), run: loadAudio},
		{name: "SaveAudio", title: "Save Audio (FLAC)", category: "audio", output: true, inputs: []input{linkIn("audio", "AUDIO"), prefix},
			run: func(k *call) (*result, error) { return k.saveAudio("output", k.text("filename_prefix"), "flac") }},
		{name: "SaveAudioMP3", title: "Save Audio (MP3)", category: "audio", output: true,
			inputs: []input{linkIn("audio", "AUDIO"), prefix, comboIn("quality", "V0", "128k", "320k")},
			run:    func(k *call) (*result, error) { return k.saveAudio("output", k.text("filename_prefix"), "mp3") }},
		{name: "SaveAudioOpus", title: "Save Audio (Opus)", category: "audio", output: true,
			inputs: []input{linkIn("audio", "AUDIO"), prefix, comboIn("quality", "64k", "96k", "128k", "192k", "320k")},
			run:    func(k *call) (*result, error) { return k.saveAudio("output", k.text("filename_prefix"), "opus") }},
		{name: "PreviewAudio", title: "Preview Audio", category: "audio", output: true, inputs: []input{linkIn("audio", "AUDIO")},
			run: func(k *call) (*result, error) { return k.saveAudio("temp", "ComfyUI_temp_"+randomLetters(5), "flac") }},
		{name: "SaveLatent", category: "_for_testing", output: true, inputs: []input{linkIn("samples", "LATENT"), prefix}, run: saveLatent},
		{name: "SimMesh", category: "simulator", inputs: []input{seedIn()}, returns: []string{"MESH"},
			run: func(k *call) (*result, error) { return returns("mesh " + pyStr(k.in.get("seed"))) }},
		{name: "SaveGLB", category: "3d", output: true, inputs: []input{linkIn("mesh", "MESH"), prefix},
			run: func(k *call) (*result, error) {
				_, file, err := k.saveModel(k.text("mesh"), false)
				if err != nil {
					return nil, err
				}
				return shows("3d", []any{file})
			}},
		{name: "Preview3D", title: "Preview 3D", category: "3d", output: true, inputs: []input{linkIn("model_file", "STRING,MESH")}, run: preview3D},
	}
	if gen.newNodes {
		classes = append(classes,
			class{name: "Save3DAdvanced", category: "3d", output: true,
				inputs: []input{linkIn("model_3d", "MESH"), prefix}, run: save3DAdvanced},
			class{name: "Preview3DAdvanced", category: "3d", output: true,
				inputs: []input{linkIn("model_3d", "MESH")}, run: preview3DAdvanced})
	}
	return classes
}

// combineVideo reports under gifs, and leaves a picture of the first frame
// beside the video that it does not list.
func combineVideo(k *call) (*result, error) {
	p, err := k.picture("images")
	if err != nil {
		return nil, err
	}
	kind := "output"
	if !k.flag("save_output") {
		kind = "temp"
	}
	at, err := k.place(kind, k.text("filename_prefix"), p.w, p.h)
	if err != nil {
		return nil, err
	}
	at.bare = true
	at.next = highest(at.folder, at.name, true) + 1
	format := k.text("format")
	ext := format[strings.LastIndexAny(format, "/-")+1:]
	first := *at
	if _, err := k.save(&first, "png", func(w io.Writer) error { return encodePNG(w, p, 0) }); err != nil {
		return nil, err
	}
	file, err := k.save(at, ext, func(w io.Writer) error {
		return media(w, ext, seedOf(format, uint64(p.w), uint64(p.h)), 4096)
	})
	if err != nil {
		return nil, err
	}
	name := file.get("filename").(string)
	file.set("format", format)
	file.set("frame_rate", k.float("frame_rate", 8))
	file.set("workflow", strings.TrimSuffix(name, ext)+"png")
	file.set("fullpath", filepath.Join(at.folder, name))
	return &result{values: []any{nil}, ui: obj("gifs", []any{file})}, nil
}

// loadAudio takes any file: the audio is as good as the hash of its bytes.
func loadAudio(k *call) (*result, error) {
	_, path := k.c.inputPath(k.text("audio"))
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, &exception{"FileNotFoundError", "[Errno 2] No such file or directory: '" + path + "'"}
	}
	return returns(fmt.Sprintf("file %x", sha256.Sum256(raw)))
}

func (k *call) saveAudio(kind, prefix, ext string) (*result, error) {
	at, err := k.place(kind, prefix, 0, 0)
	if err != nil {
		return nil, err
	}
	at.bare = k.c.gen.newNodes
	file, err := k.save(at, ext, func(w io.Writer) error { return media(w, ext, seedOf(k.text("audio")), 8192) })
	if err != nil {
		return nil, err
	}
	return shows("audio", []any{file})
}

func saveLatent(k *call) (*result, error) {
	at, err := k.place("output", k.text("filename_prefix"), 0, 0)
	if err != nil {
		return nil, err
	}
	file, err := k.save(at, "latent", func(w io.Writer) error {
		head := `{"latent_tensor":{"dtype":"F32","shape":[1,4,8,8],"data_offsets":[0,1024]}}`
		if err := binary.Write(w, binary.LittleEndian, uint64(len(head))); err != nil {
			return err
		}
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		return noise(w, 4, 1024)
	})
	if err != nil {
		return nil, err
	}
	return shows("latents", []any{file})
}

func (k *call) saveModel(mesh string, bare bool) (*place, *object, error) {
	at, err := k.place("output", k.text("filename_prefix"), 0, 0)
	if err != nil {
		return nil, nil, err
	}
	at.bare = bare
	file, err := k.save(at, "glb", func(w io.Writer) error { return media(w, "glb", seedOf(mesh), 2048) })
	return at, file, err
}

// preview3D shows a name, not a file; of a mesh it leaves a file in the
// output directory that nothing reports.
func preview3D(k *call) (*result, error) {
	name := k.text("model_file")
	if strings.HasPrefix(name, "mesh ") {
		var err error
		if name, err = k.leaveModel("preview3d_", name); err != nil {
			return nil, err
		}
	}
	if k.c.gen.newNodes {
		return shows("result", []any{name, nil, nil})
	}
	return shows("result", []any{name, nil})
}

func preview3DAdvanced(k *call) (*result, error) {
	name, err := k.leaveModel("preview3d_advanced_", k.text("model_3d"))
	if err != nil {
		return nil, err
	}
	return shows("result", []any{name, nil, []any{}})
}

// leaveModel writes a model under a random name.
func (k *call) leaveModel(prefix, mesh string) (string, error) {
	name := prefix + uuidHex(uuid.New()) + ".glb"
	return name, k.write(filepath.Join(k.c.cfg.OutputDir, name), func(w io.Writer) error { return media(w, "glb", seedOf(mesh), 2048) })
}

// save3DAdvanced writes a file and reports only its path.
func save3DAdvanced(k *call) (*result, error) {
	at, file, err := k.saveModel(k.text("model_3d"), true)
	if err != nil {
		return nil, err
	}
	return shows("result", []any{filepath.Join(at.subfolder, file.get("filename").(string)), nil, []any{}})
}

// media writes bytes that begin like a file of that extension.
func media(w io.Writer, ext string, seed uint64, size int64) error {
	head := map[string]string{
		"mp4":  "\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41\x00\x00\x10\x08mdat",
		"webm": "\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webmB\x87\x81\x04B\x85\x81\x02",
		"webp": "RIFF\x08\x10\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x3f\x00\x00\x3f\x00\x00ANIM",
		"gif":  "GIF89a\x40\x00\x40\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff",
		"flac": "fLaC\x80\x00\x00\x22\x10\x00\x10\x00",
		"mp3":  "ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x64",
		"opus": "OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00OpusHead\x01\x02",
		"glb":  "glTF\x02\x00\x00\x00\x00\x08\x00\x00",
		"png":  "\x89PNG\r\n\x1a\n",
		"jpg":  "\xff\xd8\xff\xe0\x00\x10JFIF\x00",
	}[ext]
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	return noise(w, seed, max(0, size-int64(len(head))))
}
