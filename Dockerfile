# All images of comfyvisor, smallest first:
#
#   docker build --target binary -t comfyvisor .      the program alone, to copy into your own image
#   docker build --target sim -t comfyvisor:sim .     with a simulated ComfyUI: no GPU, no Python
#   docker build --target base -t comfyvisor:base .   with ComfyUI, without models
#   docker build -t comfyvisor:flux1-dev-fp8 .        with models; MODEL_TYPE chooses which
#
# docker-bake.hcl has a target for each set of models.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04

FROM ${GO_IMAGE} AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/comfyvisor ./entrypoint \
 && go build -trimpath -ldflags "-s -w" -o /out/fakecomfy ./internal/comfytest/fakecomfy
# What every image needs that begins with nothing: a user, temporary files, certificates.
RUN mkdir -p /root-of-sim/etc/ssl/certs /root-of-sim/tmp /root-of-sim/comfyui/custom_nodes \
 && echo 'comfy:x:65532:65532::/comfyui:/sbin/nologin' > /root-of-sim/etc/passwd \
 && echo 'comfy:x:65532:' > /root-of-sim/etc/group \
 && cp /etc/ssl/certs/ca-certificates.crt /root-of-sim/etc/ssl/certs/ \
 && chown -R 65532:65532 /root-of-sim/comfyui \
 && chmod 1777 /root-of-sim/tmp /root-of-sim/comfyui

FROM scratch AS binary
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="comfyvisor" \
      org.opencontainers.image.description="Serves ComfyUI workflows as an API; the program alone" \
      org.opencontainers.image.source="https://github.com/comfyvisor/comfyvisor" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/comfyvisor /comfyvisor
ENTRYPOINT ["/comfyvisor"]

# sim behaves like a pod with a GPU and paints a picture from your prompt.
FROM scratch AS sim
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="comfyvisor-sim" \
      org.opencontainers.image.description="comfyvisor with a simulated ComfyUI, to try it anywhere" \
      org.opencontainers.image.source="https://github.com/comfyvisor/comfyvisor" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /root-of-sim /
COPY --from=build /out/fakecomfy /fakecomfy
COPY --from=build /out/comfyvisor /comfyvisor
ENV COMFY_COMMAND=/fakecomfy COMFY_CPU=true COMFY_LOG_LEVEL=INFO SERVE_API_LOCALLY=true
USER 65532:65532
WORKDIR /comfyui
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/comfyvisor", "healthcheck"]
ENTRYPOINT ["/comfyvisor"]

# system is what ComfyUI, its nodes and a person who looks around need from the
# distribution.
FROM ${BASE_IMAGE} AS system
# Host keys belong to a pod and not to an image: comfyvisor has them made.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates curl ffmpeg git libgl1 libglib2.0-0 libsm6 libtcmalloc-minimal4 libxext6 libxrender1 \
      openssh-server python3 python3-venv wget \
 && ln -sf python3 /usr/bin/python \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /etc/ssh/ssh_host_*_key*

FROM system AS base
ENV PATH=/opt/venv/bin:${PATH} VIRTUAL_ENV=/opt/venv PIP_PREFER_BINARY=1 PIP_NO_INPUT=1 CMAKE_BUILD_PARALLEL_LEVEL=8
RUN python3 -m venv /opt/venv \
 && pip install --no-cache-dir uv \
 && uv pip install --no-cache comfy-cli pip setuptools wheel \
 && comfy --skip-prompt tracking disable

# A release such as 0.33.0, or latest, or nightly.
ARG COMFYUI_VERSION=0.33.0
# Empty is the one that this ComfyUI asks for, or the newest where it asks for none.
ARG COMFYUI_MANAGER_VERSION=
# 12.6 takes PyTorch for CUDA 12.6; empty takes what PyPI has.
ARG CUDA_VERSION_FOR_COMFY=12.6
COPY deploy/image/install-comfyui deploy/image/comfy-node-install /usr/local/bin/
RUN install-comfyui \
 && comfy --skip-prompt set-default /comfyui

# For a newer CUDA than ComfyUI's own choice.
ARG ENABLE_PYTORCH_UPGRADE=false
ARG PYTORCH_INDEX_URL=
RUN if [ "${ENABLE_PYTORCH_UPGRADE}" = true ]; then \
      uv pip install --no-cache --force-reinstall torch torchvision torchaudio --index-url "${PYTORCH_INDEX_URL:?tell where the newer PyTorch is}"; \
    fi

COPY deploy/image/extra_model_paths.yaml /comfyui/
COPY --from=build /out/comfyvisor /comfyvisor
ARG VERSION=dev
ARG REVISION=
LABEL org.opencontainers.image.title="comfyvisor" \
      org.opencontainers.image.description="ComfyUI as a worker of RunPod Serverless, or with a local API" \
      org.opencontainers.image.source="https://github.com/comfyvisor/comfyvisor" \
      org.opencontainers.image.licenses="MIT AND GPL-3.0-only" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /
EXPOSE 8000 8188
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 CMD ["/comfyvisor", "healthcheck"]
ENTRYPOINT ["/comfyvisor"]
CMD []

FROM base AS models
ARG MODEL_TYPE=flux1-dev-fp8
# For models behind a licence. It stays in this stage, which is not published.
ARG HUGGINGFACE_ACCESS_TOKEN=
COPY deploy/image/fetch-models /usr/local/bin/
RUN fetch-models "${MODEL_TYPE}" /models

FROM base AS final
COPY --from=models /models /comfyui/models
