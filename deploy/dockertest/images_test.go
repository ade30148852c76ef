//go:build docker

package dockertest

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// images are what the images under test are made of.
type images struct {
	golang, debian string
}

// packages are what an engine and the stand-ins need, on Debian.
var packages = []string{"docker.io", "docker-compose", "debootstrap", "iproute2", "iptables", "procps"}

// inDebian are the packages of the stand-in for an image of Debian with what the
// program looks for.
const inDebian = "ca-certificates,libtcmalloc-minimal4,openssh-client,openssh-server,procps,prometheus"

// prepare fetches what needs the network: the namespaces of the engine have none.
func prepare(ctx context.Context, cache string) error {
	if os.Getuid() != 0 {
		return errors.New("no Docker engine answers; start one, or run this as root on Debian, where it installs one")
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	if missing(packages...) {
		fmt.Println("installing:", strings.Join(packages, " "))
		// Debian's engine is not to be started as a service.
		env := []string{"DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"}
		wait := []string{"-o", "DPkg::Lock::Timeout=600"}
		if _, err := command(ctx, env, "apt-get", append(wait, "update")...); err != nil {
			return err
		}
		install := append(wait, "install", "-y", "--no-install-recommends")
		if _, err := command(ctx, env, "apt-get", append(install, packages...)...); err != nil {
			return err
		}
	}
	if err := debianTree(ctx, filepath.Join(cache, "debian-"+stamp(inDebian))); err != nil {
		return err
	}
	if err := s3Tree(ctx, filepath.Join(cache, "s3")); err != nil {
		return err
	}
	return moduleTree(ctx, filepath.Join(cache, "modules"))
}

func missing(packages ...string) bool {
	for _, name := range packages {
		if exec.Command("dpkg", "-s", name).Run() != nil {
			return true
		}
	}
	return false
}

// debianTree makes a tree of Debian's files, once.
func debianTree(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	fmt.Println("making a stand-in for Debian's image")
	half := dir + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if _, err := command(ctx, nil, "debootstrap", "--variant=minbase", "--include="+inDebian, "bookworm", half); err != nil {
		return err
	}
	return os.Rename(half, dir)
}

// s3Tree fills a directory with the S3 server of the compose file.
func s3Tree(ctx context.Context, dir string) error {
	path, err := s3test.Build(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	_, err = command(ctx, nil, "cp", path, dir)
	return err
}

// moduleTree fills a directory with the modules that a build needs, laid out as a
// module proxy serves them.
func moduleTree(ctx context.Context, dir string) error {
	ours, err := command(ctx, nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return err
	}
	known, proxy, _ := strings.Cut(strings.TrimSpace(ours), "\n")
	env := []string{"GOMODCACHE=" + dir, "GOFLAGS=-modcacherw", "GOPROXY=file://" + filepath.Join(known, "cache", "download") + "," + proxy}
	_, err = command(ctx, env, "go", "mod", "download")
	return err
}

// publicImages are those of an engine that can pull them.
func publicImages(ctx context.Context) (images, error) {
	const debian = "comfyvisor-test/debian"
	text := "FROM debian:bookworm-slim\nRUN apt-get update && apt-get install -y --no-install-recommends " + strings.ReplaceAll(inDebian, ",", " ") + "\n"
	cache, err := os.UserCacheDir()
	if err != nil {
		return images{}, err
	}
	dir := filepath.Join(cache, "comfyvisor-test", "docker", "s3")
	if err := errors.Join(s3Tree(ctx, dir), buildText(ctx, debian, text, nil)); err != nil {
		return images{}, err
	}
	return images{golang: "golang:1.26", debian: debian}, buildS3(ctx, debian, dir)
}

// standIns makes images of what prepare has fetched, unless they are there.
func standIns(ctx context.Context, cache string) (images, error) {
	sum, err := os.ReadFile(filepath.Join("..", "..", "go.sum"))
	if err != nil {
		return images{}, err
	}
	made := images{golang: "comfyvisor-test/golang:" + stamp(string(sum)+runtime.Version()), debian: "comfyvisor-test/debian:" + stamp(inDebian)}
	if _, err := docker(ctx, "image", "inspect", made.debian); err != nil {
		if err := importTree(ctx, made.debian, filepath.Join(cache, "debian-"+stamp(inDebian))); err != nil {
			return made, err
		}
	}
	if err := buildS3(ctx, made.debian, filepath.Join(cache, "s3")); err != nil {
		return made, err
	}
	if _, err := docker(ctx, "image", "inspect", made.golang); err == nil {
		return made, nil
	}
	fmt.Println("making a stand-in for Go's image")
	// The build that follows finds the most of its work done in the cache of this
	// one, whose sources are the same.
	text := `FROM ` + made.debian + `
COPY go /usr/local/go
COPY modules /go/proxy
COPY src /src
ENV PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin GOPROXY=file:///go/proxy GOSUMDB=off
RUN cd /src && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /dev/null ./entrypoint && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /dev/null ./internal/comfytest/fakecomfy && rm -rf /src
`
	goroot, err := command(ctx, nil, "go", "env", "GOROOT")
	if err != nil {
		return made, err
	}
	return made, buildText(ctx, made.golang, text, map[string]string{
		"go":      strings.TrimSpace(goroot),
		"modules": filepath.Join(cache, "modules", "cache", "download"),
		"src":     filepath.Join("..", ".."),
	})
}

// stamp is short and changes with the text.
func stamp(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12] }

// buildS3 stands in for deploy/s3, whose build downloads much.
func buildS3(ctx context.Context, debian, dir string) error {
	return buildText(ctx, s3, `FROM `+debian+`
COPY s3/versitygw /versitygw
RUN mkdir -p /store/buckets/outputs /store/meta
ENTRYPOINT ["/versitygw", "--port", ":7070", "--region", "us-east-1", "--health", "/health", "posix", "--sidecar", "/store/meta", "/store/buckets"]
`, map[string]string{"s3": dir})
}

// buildImages builds the images under test as the documents tell.
func buildImages(ctx context.Context, from images) error {
	for target, tag := range map[string]string{"binary": binary, "sim": sim} {
		args := []string{"build", "--quiet", "--target", target, "--build-arg", "GO_IMAGE=" + from.golang, "--build-arg", "VERSION=docker-test", "--tag", tag, filepath.Join("..", "..")}
		if _, err := docker(ctx, args...); err != nil {
			return err
		}
	}
	// An image as people have it: ComfyUI with the Manager, and a start script.
	err := buildText(ctx, worker, `FROM `+from.debian+`
COPY --from=`+sim+` /fakecomfy /comfyui/main
RUN mkdir -p /comfyui/custom_nodes/ComfyUI-Manager && rm -f /etc/ssh/ssh_host_*
ENV COMFY_COMMAND=/comfyui/main COMFY_CPU=true COMFY_LOG_LEVEL=INFO SERVE_API_LOCALLY=true
CMD ["/start.sh"]
`, nil)
	if err != nil {
		return err
	}
	return buildText(ctx, dropIn, `FROM `+worker+`
COPY --from=`+binary+` /comfyvisor /comfyvisor
ENTRYPOINT ["/comfyvisor"]
`, nil)
}

// buildText builds an image from the text of a Dockerfile, with directories as
// its context.
func buildText(ctx context.Context, tag, text string, dirs map[string]string) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeContext(w, text, dirs)) }()
	cmd := exec.CommandContext(ctx, "docker", "build", "--quiet", "--tag", tag, "-")
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", tag, err, tail(string(out), 3000))
	}
	return nil
}

func writeContext(w io.Writer, text string, dirs map[string]string) error {
	t := tar.NewWriter(w)
	if err := t.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := io.WriteString(t, text); err != nil {
		return err
	}
	for name, dir := range dirs {
		if err := writeTree(t, name, dir); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeTree writes the plain files of a directory.
func writeTree(t *tar.Writer, name, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" && name == "go") {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := t.WriteHeader(&tar.Header{Name: filepath.ToSlash(filepath.Join(name, rel)), Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}); err != nil {
			return err
		}
		_, err = io.Copy(t, f)
		return err
	})
}

// importTree makes an image of a tree of files, owners and links and all.
func importTree(ctx context.Context, tag, dir string) error {
	_, err := command(ctx, nil, "sh", "-c", `tar -C "$1" -c . | docker import - "$2"`, "sh", dir, tag)
	return err
}
