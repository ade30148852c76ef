package volume

import (
	"path/filepath"
	"slices"
	"strings"
)

// weights are the extensions of model files that ComfyUI lists, in any case.
var weights = []string{".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"}

// kinds are the folders in which ComfyUI itself looks for models. Any other
// folder is a custom node's.
var kinds = []string{
	"audio_encoders", "checkpoints", "classifiers", "clip", "clip_vision", "configs", "controlnet", "diffusers",
	"diffusion_models", "embeddings", "gligen", "hypernetworks", "latent_upscale_models", "loras", "model_patches",
	"photomaker", "style_models", "t2i_adapter", "text_encoders", "unet", "upscale_models", "vae", "vae_approx",
}

// misnamed are folders of other programs, and slips, with the kind that is meant;
// names in lower case.
var misnamed = map[string]string{
	"checkpoint": "checkpoints", "ckpt": "checkpoints", "stable-diffusion": "checkpoints", "stablediffusion": "checkpoints",
	"lora": "loras", "lycoris": "loras", "vaes": "vae", "control_net": "controlnet", "controlnets": "controlnet",
	"embedding": "embeddings", "textual_inversion": "embeddings", "hypernetwork": "hypernetworks",
	"upscale_model": "upscale_models", "upscaler": "upscale_models", "upscalers": "upscale_models", "esrgan": "upscale_models", "realesrgan": "upscale_models",
	"diffusion_model": "diffusion_models", "unets": "unet", "text_encoder": "text_encoders", "clips": "clip", "clipvision": "clip_vision",
}

// known tells whether ComfyUI itself looks into a folder of this name.
func known(name string) bool { return slices.Contains(kinds, name) }

// meant returns the kind that a folder of another name is likely to be for.
func meant(name string) string {
	lower := strings.ToLower(name)
	if known(lower) && lower != name {
		return lower
	}
	return misnamed[lower]
}

// key is the name of a folder in a model path file.
func key(folder string) string {
	if folder == "t2i_adapter" { // has no name of its own
		return "controlnet"
	}
	return folder
}

const (
	leastModel = 1 << 10 // smaller ones are what a failed download leaves
	largeFile  = 1 << 20 // from here on it matters that a file is not seen
)

// judge says whether ComfyUI lists a file that lies in a folder of models, and
// if not why; "" for what nobody expects to be listed.
func judge(folder, name string, size int64) (listed bool, why string) {
	ext := strings.ToLower(filepath.Ext(name))
	model := slices.Contains(weights, ext)
	switch {
	case folder == "configs":
		return ext == ".yaml", ""
	case folder == "diffusers", folder == "classifiers": // whole folders, and anything
		return true, ""
	case model && size < leastModel:
		return true, "it is too small to be a model: a download that failed, or a Git LFS pointer"
	case model:
		return true, ""
	case ext == ".gguf":
		return false, "only the custom nodes for GGUF read it"
	case slices.Contains([]string{".part", ".partial", ".crdownload", ".download", ".incomplete", ".aria2", ".tmp"}, ext):
		return false, "the download is not finished"
	case slices.Contains([]string{".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"}, ext):
		return false, "it has to be unpacked"
	case !known(folder):
		return true, "" // a custom node knows what it reads
	case size >= largeFile && ext == "":
		return false, "its name has no extension, ComfyUI lists " + strings.Join(weights, " ")
	case size >= largeFile && !slices.Contains([]string{".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".json", ".txt"}, ext):
		return false, "ComfyUI does not list " + ext + " files, but " + strings.Join(weights, " ")
	}
	return false, ""
}
