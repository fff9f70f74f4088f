package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"strata/internal/image"
)

// openPodman opens an image by Podman's service, which speaks Docker's API.
func openPodman(ctx context.Context, name string, o Options) ([]*image.Image, io.Closer, error) {
	if o.PodmanSocket != "" {
		return openEngine(ctx, []endpoint{{url: o.PodmanSocket}}, name, o)
	}
	if host := o.Env("CONTAINER_HOST"); host != "" {
		return openEngine(ctx, []endpoint{{url: host}}, name, o)
	}
	var there []endpoint
	for _, path := range podmanSockets(o.Env) {
		if onDisk(path) {
			there = append(there, endpoint{url: "unix://" + path})
		}
	}
	if len(there) == 0 {
		return nil, nil, fmt.Errorf("no socket at %s: start one with `podman system service`", strings.Join(podmanSockets(o.Env), " or "))
	}
	return openEngine(ctx, there, name, o)
}

// podmanSockets are the user's own and the system's.
func podmanSockets(env func(string) string) []string {
	var out []string
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, filepath.Join(dir, "podman/podman.sock"))
	} else if uid := os.Getuid(); uid > 0 {
		out = append(out, fmt.Sprintf("/run/user/%d/podman/podman.sock", uid))
	}
	return append(out, "/run/podman/podman.sock")
}

// openEngine opens an image of the first engine that has it.
func openEngine(ctx context.Context, endpoints []endpoint, name string, o Options) ([]*image.Image, io.Closer, error) {
	var failures []error
	for _, a := range endpoints {
		images, closer, err := openEngineAt(ctx, a, name, o)
		if err == nil || ctx.Err() != nil {
			return images, closer, err
		}
		failures = append(failures, err)
	}
	return nil, nil, joined(failures)
}
