package comfytest

import (
	"bytes"
	"encoding/json"
	"image/color"
	"image/jpeg"
	"slices"
	"strconv"
)

// seedMax is the largest seed, 2^64 - 1.
const seedMax = json.Number("18446744073709551615")

// A latent is a LATENT: a size, and what was sampled or encoded into it.
type latent struct {
	w, h, frames int
	shown        *picture // nil while it is empty
}

func defaultModels() map[string][]string {
	return map[string][]string{
		"checkpoints":      {"flux1-dev-fp8.safetensors", "sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly.safetensors"},
		"loras":            {"add_detail.safetensors", "lcm-lora-sdxl.safetensors"},
		"vae":              {"ae.safetensors", "sdxl_vae.safetensors"},
		"diffusion_models": {"flux1-dev.safetensors"},
		"text_encoders":    {"clip_l.safetensors", "t5xxl_fp8_e4m3fn.safetensors"},
		"upscale_models":   {"RealESRGAN_x4plus.pth"},
		"controlnet":       {},
		"embeddings":       {},
	}
}

func modelIn(name, folder string) input {
	return input{name: name, kind: "COMBO", from: func(c *Comfy) []string { return slices.Sorted(slices.Values(c.cfg.Models[folder])) }}
}

func samplingClasses() []class {
	return []class{
		{name: "CheckpointLoaderSimple", title: "Load Checkpoint", category: "loaders",
			inputs:  []input{modelIn("ckpt_name", "checkpoints")},
			returns: []string{"MODEL", "CLIP", "VAE"},
			run: func(k *call) (*result, error) {
				name := k.text("ckpt_name")
				return returns("model "+name, "clip "+name, "vae "+name)
			}},
		{name: "LoraLoader", title: "Load LoRA", category: "loaders",
			inputs: []input{linkIn("model", "MODEL"), linkIn("clip", "CLIP"), modelIn("lora_name", "loras"),
				floatIn("strength_model", 1, -100, 100), floatIn("strength_clip", 1, -100, 100)},
			returns: []string{"MODEL", "CLIP"},
			run: func(k *call) (*result, error) {
				name := " + " + k.text("lora_name")
				return returns(k.text("model")+name, k.text("clip")+name)
			}},
		{name: "VAELoader", title: "Load VAE", category: "loaders",
			inputs: []input{modelIn("vae_name", "vae")}, returns: []string{"VAE"},
			run: func(k *call) (*result, error) { return returns("vae " + k.text("vae_name")) }},
		{name: "CLIPTextEncode", title: "CLIP Text Encode (Prompt)", category: "conditioning",
			inputs: []input{textIn("text", ""), linkIn("clip", "CLIP")}, returns: []string{"CONDITIONING"},
			run: func(k *call) (*result, error) { return returns(k.text("text")) }},
		{name: "EmptyLatentImage", title: "Empty Latent Image", category: "latent",
			inputs:  []input{intIn("width", 512, 16, 16384), intIn("height", 512, 16, 16384), intIn("batch_size", 1, 1, 4096)},
			returns: []string{"LATENT"},
			run: func(k *call) (*result, error) {
				return returns(&latent{k.int("width", 512), k.int("height", 512), k.int("batch_size", 1), nil})
			}},
		{name: "VAEEncode", title: "VAE Encode", category: "latent",
			inputs: []input{linkIn("pixels", "IMAGE"), linkIn("vae", "VAE")}, returns: []string{"LATENT"},
			run: func(k *call) (*result, error) {
				p, err := k.picture("pixels")
				if err != nil {
					return nil, err
				}
				return returns(&latent{p.w, p.h, p.frames, p})
			}},
		{name: "VAEDecode", title: "VAE Decode", category: "latent",
			inputs: []input{linkIn("samples", "LATENT"), linkIn("vae", "VAE")}, returns: []string{"IMAGE"},
			run: decodeLatent},
		{name: "KSampler", title: "KSampler", category: "sampling", inputs: []input{
			linkIn("model", "MODEL"), seedIn(), intIn("steps", 20, 1, 10000), floatIn("cfg", 8, 0, 100),
			comboIn("sampler_name", samplers()...), comboIn("scheduler", "simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic", "kl_optimal"),
			linkIn("positive", "CONDITIONING"), linkIn("negative", "CONDITIONING"), linkIn("latent_image", "LATENT"), floatIn("denoise", 1, 0, 1)},
			returns: []string{"LATENT"}, run: sample},
	}
}

func samplers() []string {
	return []string{"euler", "euler_cfg_pp", "euler_ancestral", "heun", "dpm_2", "dpm_2_ancestral", "lms", "dpm_fast",
		"dpm_adaptive", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddpm", "lcm",
		"ipndm", "deis", "res_multistep", "gradient_estimation", "er_sde", "ddim", "uni_pc", "uni_pc_bh2"}
}

func decodeLatent(k *call) (*result, error) {
	l, ok := k.in.get("samples").(*latent)
	if !ok {
		return nil, &exception{"TypeError", "'NoneType' object is not subscriptable"}
	}
	if l.shown == nil {
		return returns(plain(l.w, l.h, l.frames, color.RGBA{128, 128, 128, 255}))
	}
	return returns(l.shown)
}

// sample dreams a picture of both prompts, the seed and the model, over what
// the latent shows already.
func sample(k *call) (*result, error) {
	l, ok := k.in.get("latent_image").(*latent)
	if !ok {
		return nil, &exception{"TypeError", "'NoneType' object is not subscriptable"}
	}
	seed, _ := strconv.ParseUint(pyStr(k.in.get("seed")), 10, 64)
	d := newDream(seedOf(k.text("positive")+"\x00"+k.text("negative")+"\x00"+k.text("model"), seed))
	strength := k.float("denoise", 1)
	if l.shown != nil {
		strength = min(strength, 0.75) // even at full strength something remains to be seen
	}
	shown := d.picture(l.w, l.h, l.frames, l.shown, strength)
	if err := k.steps(k.int("steps", 20), shown); err != nil {
		return nil, err
	}
	return returns(&latent{l.w, l.h, l.frames, shown})
}

// steps takes its time step by step, and shows previews where they are on.
func (k *call) steps(n int, shown *picture) error {
	for i := range n {
		if !k.c.sleep(k.c.ctx, k.c.cfg.StepDelay) {
			return errProcessEnded
		}
		if err := k.poll(); err != nil {
			return err
		}
		var image *preview
		if k.c.cfg.Previews && shown != nil {
			image = k.c.previewOf(shown)
		}
		k.run.progress.step(k.id, i+1, n, image)
	}
	return nil
}

// previewOf is a small JPEG of p.
func (c *Comfy) previewOf(p *picture) *preview {
	w, h := p.w, p.h
	if big := max(w, h); big > 128 {
		w, h = max(1, w*128/big), max(1, h*128/big)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p.scaled(w, h).frame(0), &jpeg.Options{Quality: 75}); err != nil {
		return nil
	}
	return &preview{kind: framePreview, format: imageJPEG, data: b.Bytes()}
}
