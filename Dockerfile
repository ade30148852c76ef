# The image of the binary alone: copy /comfyvisor out of it into an image that
# has ComfyUI, and make it the entrypoint there.
#
#   docker build -t comfyvisor .
ARG GO_VERSION=1.26

FROM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /comfyvisor ./entrypoint

FROM scratch AS binary
COPY --from=build /comfyvisor /comfyvisor
ENTRYPOINT ["/comfyvisor"]
