package comfytest

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ramTotal is the memory that the simulated host says it has.
const ramTotal = 25276510208

func (c *Comfy) getSystemStats(w http.ResponseWriter, _ *http.Request) {
	system := obj("os", "posix", "ram_total", ramTotal, "ram_free", ramTotal*3/4, "comfyui_version", c.cfg.Version,
		"required_frontend_version", "1.27.10", "installed_templates_version", "0.1.95", "required_templates_version", "0.1.95",
		"python_version", "3.12.3 (main) [GCC 13.2.0]", "pytorch_version", "2.8.0+cu128", "embedded_python", false, "argv", list(c.cfg.Argv))
	if c.gen.jobsAPI {
		system.set("os", "linux")
	}
	if c.gen.cancelRoutes {
		system.set("comfy_package_versions", []any{})
		system.set("deploy_environment", "local-git")
	}
	const vram = 25757220864
	device := obj("name", "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "type", "cuda", "index", 0,
		"vram_total", vram, "vram_free", vram*9/10, "torch_vram_total", 0, "torch_vram_free", 0)
	c.answer(w, http.StatusOK, obj("system", system, "devices", []any{device}))
}

func (c *Comfy) getFeatures(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusOK, c.features())
}

func (c *Comfy) features() *object {
	f := obj("supports_preview_metadata", true, "max_upload_size", c.cfg.MaxBody)
	if c.gen.newNodes {
		f.set("supports_model_type_tags", true)
		f.set("extension", obj("manager", obj("supports_v4", true)))
		f.set("node_replacements", true)
		f.set("assets", false)
	}
	return f
}

func (c *Comfy) assetsDisabled(w http.ResponseWriter, _ *http.Request) {
	c.answer(w, http.StatusServiceUnavailable, obj("error", obj("code", "SERVICE_DISABLED",
		"message", "Assets system is disabled. Start the server with --enable-assets to use this feature.", "details", obj())))
}

func (c *Comfy) getEmbeddings(w http.ResponseWriter, _ *http.Request) {
	names := []any{}
	for _, name := range c.cfg.Models["embeddings"] {
		names = append(names, strings.TrimSuffix(name, filepath.Ext(name)))
	}
	c.answer(w, http.StatusOK, names)
}

func (c *Comfy) getModels(w http.ResponseWriter, _ *http.Request) {
	var folders []string
	for folder := range c.cfg.Models {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	c.answer(w, http.StatusOK, list(folders))
}

func (c *Comfy) getModelFolder(w http.ResponseWriter, r *http.Request) {
	names, ok := c.cfg.Models[r.PathValue("folder")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.answer(w, http.StatusOK, list(names))
}

// getLogs is a JSON string with all lines; raw gives them apart.
func (c *Comfy) getLogs(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	for _, e := range c.log.entries() {
		b.WriteString(e.at.Format(time.RFC3339Nano) + " - " + e.line + "\n")
	}
	c.answer(w, http.StatusOK, b.String())
}

func (c *Comfy) getRawLogs(w http.ResponseWriter, _ *http.Request) {
	entries := []any{}
	for _, e := range c.log.entries() {
		entries = append(entries, obj("t", e.at.Format(time.RFC3339Nano), "m", e.line+"\n"))
	}
	c.answer(w, http.StatusOK, obj("entries", entries, "size", obj("cols", 80, "rows", 24)))
}

func (c *Comfy) getFolderPaths(w http.ResponseWriter, _ *http.Request) {
	paths := obj()
	for folder := range c.cfg.Models {
		paths.set(folder, []any{filepath.Join(c.cfg.Dir, "models", folder)})
	}
	c.answer(w, http.StatusOK, paths)
}

func (c *Comfy) getFiles(w http.ResponseWriter, r *http.Request) {
	dir, ok := c.directory(r.PathValue("kind"))
	if !ok {
		c.answer(w, http.StatusBadRequest, obj("error", "Invalid directory type"))
		return
	}
	names := []any{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	c.answer(w, http.StatusOK, names)
}

// directory is where files of a type lie.
func (c *Comfy) directory(kind string) (string, bool) {
	switch kind {
	case "output":
		return c.cfg.OutputDir, true
	case "input":
		return c.cfg.InputDir, true
	case "temp":
		return c.cfg.TempDir, true
	}
	return "", false
}
