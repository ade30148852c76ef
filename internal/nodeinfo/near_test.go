package nodeinfo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestNear(t *testing.T) {
	models := []string{"flux1-dev-fp8.safetensors", "flux1-schnell.safetensors", "SDXL/juggernautXL_v9.safetensors", "sd_xl_base_1.0.safetensors",
		"sd_xl_refiner_1.0.safetensors", "v1-5-pruned-emaonly.safetensors", "4x-UltraSharp.pth"}
	samplers := []string{"euler", "euler_ancestral", "heun", "dpm_2", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc"}
	for _, tt := range []struct {
		want  string
		names []string
		first string // the nearest, "" for none
	}{
		{"sdxl_base.safetensors", models, "sd_xl_base_1.0.safetensors"},
		{"sd_xl_base_1.0.ckpt", models, "sd_xl_base_1.0.safetensors"},
		{"SD_XL_Base_1.0", models, "sd_xl_base_1.0.safetensors"},
		{"sd_xl_bsae_1.0.safetensors", models, "sd_xl_base_1.0.safetensors"},
		{"juggernautXL_v9.safetensors", models, "SDXL/juggernautXL_v9.safetensors"},
		{`SDXL\juggernautXL_v9.safetensors`, models, "SDXL/juggernautXL_v9.safetensors"},
		{"models/v1-5-pruned.safetensors", models, "v1-5-pruned-emaonly.safetensors"},
		{"flux", models, "flux1-dev-fp8.safetensors"},
		{"4xultrasharp", models, "4x-UltraSharp.pth"},
		{"dreamshaper_8.safetensors", models, ""},
		{"x", models, ""},
		{"", models, ""},
		{"....", models, ""},
		{strings.Repeat("sd_xl_base", 100), models, ""},
		{"DPM++ 2M", samplers, "dpmpp_2m"},
		{"Euler a", samplers, "euler"},
		{"eular", samplers, "euler"},
		{"anything", nil, ""},
		{"é.safetensors", []string{"É.safetensors"}, "É.safetensors"},
		{"modèle.safetensors", []string{"modele.safetensors"}, "modele.safetensors"},
	} {
		t.Run(tt.want[:min(len(tt.want), 40)], func(t *testing.T) {
			got := Near(tt.want, tt.names)
			if tt.first == "" && len(got) > 0 || tt.first != "" && (len(got) == 0 || got[0] != tt.first) {
				t.Errorf("got %q, want %q first", got, tt.first)
			}
			if len(got) > suggestions {
				t.Errorf("%d names, want %d at most", len(got), suggestions)
			}
		})
	}
}

// People use the name that the editor shows, too.
func TestNearClasses(t *testing.T) {
	info := parse(t, `{"KSampler":{"display_name":"KSampler"},"KSamplerAdvanced":{"display_name":"KSampler (Advanced)"},
		"CheckpointLoaderSimple":{"display_name":"Load Checkpoint"},"VHS_VideoCombine":{"display_name":"Video Combine"},"SaveImage":{"display_name":"Save Image"}}`)
	for want, first := range map[string]string{
		"KSamplr": "KSampler", "Ksampler": "KSampler", "Load Checkpoint": "CheckpointLoaderSimple", "CheckpointLoader": "CheckpointLoaderSimple",
		"VideoCombine": "VHS_VideoCombine", "ImageSave": "", "TotallyDifferent": "",
	} {
		got := info.NearClasses(want)
		if first == "" && len(got) > 0 || first != "" && (len(got) == 0 || got[0] != first) {
			t.Errorf("near %s: %q, want %q first", want, got, first)
		}
	}
}

// Distances are exact up to the limit, and beyond it are beyond it.
func TestLevenshtein(t *testing.T) {
	exact := func(a, b string) int {
		rows := make([][]int, len(a)+1)
		for i := range rows {
			rows[i] = make([]int, len(b)+1)
			for j := range rows[i] {
				switch {
				case i == 0 || j == 0:
					rows[i][j] = i + j
				case a[i-1] == b[j-1]:
					rows[i][j] = rows[i-1][j-1]
				default:
					rows[i][j] = 1 + min(rows[i-1][j-1], rows[i-1][j], rows[i][j-1])
				}
			}
		}
		return rows[len(a)][len(b)]
	}
	words := []string{"a", "ab", "ba", "abc", "kitten", "sitting", "sdxlbase", "sdxlbase10", "xlsdbase", "completely", "other"}
	for limit := range 8 {
		m := &measure{limit: limit}
		for _, a := range words {
			for _, b := range words {
				got, want := m.levenshtein([]byte(a), []byte(b)), exact(a, b)
				if want <= limit && got != want || want > limit && got <= limit {
					t.Errorf("limit %d: %s to %s is %d, want %d", limit, a, b, got, want)
				}
			}
		}
	}
}

func FuzzNear(f *testing.F) {
	f.Add("sdxl", "sd_xl_base_1.0.safetensors")
	f.Add("é/\\", "\xff.pt.pt")
	f.Fuzz(func(t *testing.T, want, name string) {
		got := Near(want, []string{name, "other"})
		if slices.Contains(got, want) {
			t.Errorf("%q is suggested in place of itself", want)
		}
	})
}

func BenchmarkNearOfFiveThousandModels(b *testing.B) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("folder %d/some_model_with_a_long_name-v%d.safetensors", i%17, i))
	}
	for b.Loop() {
		Near("sme_model_with_long_nmae-v4711.ckpt", names)
	}
}
