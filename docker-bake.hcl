# docker buildx bake [TARGET...] builds the images; without a target, all that
# worker-comfyui has too. `--print` shows what would be built.

variable "REPOSITORY" {
  default = "comfyvisor/comfyvisor"
}

variable "VERSION" {
  default = "dev"
}

variable "REVISION" {
  default = ""
}

variable "COMFYUI_VERSION" {
  default = "0.33.0"
}

variable "COMFYUI_MANAGER_VERSION" {
  default = ""
}

variable "BASE_IMAGE" {
  default = "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04"
}

variable "CUDA_VERSION_FOR_COMFY" {
  default = "12.6"
}

variable "ENABLE_PYTORCH_UPGRADE" {
  default = "false"
}

variable "PYTORCH_INDEX_URL" {
  default = ""
}

variable "HUGGINGFACE_ACCESS_TOKEN" {
  default = ""
}

group "default" {
  targets = ["binary", "base", "base-cuda12-8-1", "models"]
}

target "common" {
  context    = "."
  dockerfile = "Dockerfile"
  platforms  = ["linux/amd64"]
  args = {
    VERSION  = VERSION
    REVISION = REVISION
  }
}

target "binary" {
  inherits = ["common"]
  target   = "binary"
  tags     = ["${REPOSITORY}:${VERSION}"]
}

target "sim" {
  inherits = ["common"]
  target   = "sim"
  tags     = ["${REPOSITORY}:${VERSION}-sim"]
}

target "base" {
  inherits = ["common"]
  target   = "base"
  args = {
    BASE_IMAGE              = BASE_IMAGE
    COMFYUI_VERSION         = COMFYUI_VERSION
    COMFYUI_MANAGER_VERSION = COMFYUI_MANAGER_VERSION
    CUDA_VERSION_FOR_COMFY  = CUDA_VERSION_FOR_COMFY
    ENABLE_PYTORCH_UPGRADE  = ENABLE_PYTORCH_UPGRADE
    PYTORCH_INDEX_URL       = PYTORCH_INDEX_URL
  }
  tags = ["${REPOSITORY}:${VERSION}-base"]
}

# For GPUs of the Blackwell generation.
target "base-cuda12-8-1" {
  inherits = ["base"]
  args = {
    BASE_IMAGE             = "nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04"
    CUDA_VERSION_FOR_COMFY = "12.8"
  }
  tags = ["${REPOSITORY}:${VERSION}-base-cuda12.8.1"]
}

# One target for each set of models: sdxl, sd3, flux1-schnell, flux1-dev,
# flux1-dev-fp8 and z-image-turbo. sd3, flux1-schnell and flux1-dev need
# HUGGINGFACE_ACCESS_TOKEN.
target "models" {
  name     = type
  matrix   = { type = ["sdxl", "sd3", "flux1-schnell", "flux1-dev", "flux1-dev-fp8", "z-image-turbo"] }
  inherits = ["base"]
  target   = "final"
  args = {
    MODEL_TYPE               = type
    HUGGINGFACE_ACCESS_TOKEN = HUGGINGFACE_ACCESS_TOKEN
  }
  tags = ["${REPOSITORY}:${VERSION}-${type}"]
}
