package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/volume"
)

const (
	modelPathAuto = "auto" // EXTRA_MODEL_PATHS

	// volumeLimit bounds what the start waits for, lookLimit what it does not.
	volumeLimit = 5 * time.Second
	lookLimit   = time.Minute
)

// volumePath is where the network volume is, or would be: RunPod mounts it at
// /runpod-volume for serverless workers, at /workspace for pods.
func (c Config) volumePath() string {
	if c.General.Volume != "" {
		return c.General.Volume
	}
	const serverless, pod = "/runpod-volume", "/workspace"
	if _, err := volume.Stat(serverless, volumeLimit); errors.Is(err, fs.ErrNotExist) {
		if _, err := volume.Stat(pod, volumeLimit); err == nil {
			return pod
		}
	}
	return serverless
}

// modelPath returns the model path file that ComfyUI is given, "" for none. With
// EXTRA_MODEL_PATHS=auto it is written; where that cannot be done ComfyUI starts
// without, since most jobs need only what is in the image.
func modelPath(cfg Config, log *zap.Logger) (string, error) {
	switch cfg.Comfy.ModelPath {
	case "":
		return "", nil
	case modelPathAuto:
		path, err := writeModelPath(cfg, log)
		if err != nil {
			log.Warn("ComfyUI starts without the models of the network volume", zap.Error(err))
		}
		return path, nil
	}
	if _, err := volume.Stat(cfg.Comfy.ModelPath, volumeLimit); err != nil {
		return "", exitWith(exitConfig, fmt.Errorf("EXTRA_MODEL_PATHS: want auto or a model path file: %w", err))
	}
	return cfg.Comfy.ModelPath, nil
}

func writeModelPath(cfg Config, log *zap.Logger) (string, error) {
	at := cfg.volumePath()
	places, err := volume.Find(at, volumeLimit)
	if err != nil {
		return "", err
	}
	path := filepath.Join(cfg.General.DataDir, "extra_model_paths.yaml")
	if err := os.WriteFile(path, volume.Paths(places), 0o644); err != nil {
		return "", err
	}
	var folders []string
	for _, p := range places {
		folders = append(folders, p.Dir)
	}
	log.Info("model paths written", zap.String("path", path), zap.Strings("folders", folders))
	return path, nil
}

// reportVolume logs what is on the network volume, beside the start.
func reportVolume(cfg Config, log *zap.Logger) {
	for _, line := range volume.Look(cfg.volumePath(), lookLimit).Lines() {
		log.Info(line)
	}
	for _, path := range pathFiles(cfg) {
		log.Info("model path file in force: " + path)
	}
}

// pathFiles are the model path files that ComfyUI reads at its start.
func pathFiles(cfg Config) (paths []string) {
	own := filepath.Join(cfg.Comfy.Home, "extra_model_paths.yaml")
	if _, err := volume.Stat(own, volumeLimit); err == nil {
		paths = append(paths, own)
	}
	argv, err := comfyArgv(cfg)
	if err != nil {
		return paths
	}
	if given := flagValue(argv, "--extra-model-paths-config"); given != "" {
		paths = append(paths, given)
	}
	return paths
}
