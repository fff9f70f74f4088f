package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"strata/internal/image"
	"strata/internal/source"
)

// sourceOptions are the flags about where images come from.
type sourceOptions struct {
	platform     string
	allPlatforms bool
	insecure     bool
	caFile       string
	username     string
	password     string
	token        string
	mirrors      []string
	retries      int
	dockerHost   string
	containerd   string
	namespace    string
}

func (o *sourceOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.platform, "platform", "", "image of an index to scan: `OS/ARCH[/VARIANT]` (default linux and this machine's)")
	f.BoolVar(&o.allPlatforms, "all-platforms", false, "scan every image of an index: a report each, one after the other")
	f.StringVar(&o.username, "username", "", "`NAME` at the registry (default from the credentials of Docker's configuration)")
	f.StringVar(&o.password, "password", "", "`PASSWORD` at the registry; better given as STRATA_PASSWORD")
	f.StringVar(&o.token, "token", "", "bearer `TOKEN` of the registry; better given as STRATA_TOKEN")
	f.StringVar(&o.caFile, "ca-file", "", "`FILE` of certificates to trust besides the system's (PEM)")
	f.BoolVar(&o.insecure, "insecure", false, "allow http and certificates that can't be verified")
	f.StringArrayVar(&o.mirrors, "registry-mirror", nil, "`HOST=ADDRESS` to try first, such as docker.io=https://mirror.example; may be given several times")
	f.IntVar(&o.retries, "retries", 4, "try a failed request again `N` times")
	f.StringVar(&o.dockerHost, "docker-host", "", "`ADDRESS` of the Docker daemon (default DOCKER_HOST, or its socket)")
	f.StringVar(&o.containerd, "containerd-socket", "", "`PATH` of containerd's socket (default /run/containerd/containerd.sock)")
	f.StringVar(&o.namespace, "containerd-namespace", "", "`NAME` of containerd's namespace (default default, k8s.io and moby)")
}

func (o *sourceOptions) open(a *app) (source.Options, error) {
	out := source.Options{
		AllPlatforms: o.allPlatforms, Insecure: o.insecure, CAFile: o.caFile,
		Username: o.username, Password: o.password, Token: o.token, Retries: o.retries,
		DockerHost: o.dockerHost, ContainerdSocket: o.containerd, ContainerdNamespace: o.namespace, Env: a.env, Log: a.log,
	}
	if o.retries < 0 {
		return out, fmt.Errorf("--retries %d: want 0 or more", o.retries)
	}
	if o.retries == 0 {
		out.Retries = -1 // its zero means the default
	}
	if o.platform != "" {
		p, err := image.ParsePlatform(o.platform)
		if err != nil {
			return out, fmt.Errorf("--platform: %w", err)
		}
		if o.allPlatforms {
			return out, fmt.Errorf("--platform %s and --all-platforms exclude each other", o.platform)
		}
		out.Platform = p
	}
	for _, m := range o.mirrors {
		host, address, ok := strings.Cut(m, "=")
		if !ok || host == "" || address == "" {
			return out, fmt.Errorf("--registry-mirror %s: want HOST=ADDRESS, as in docker.io=https://mirror.example", m)
		}
		if out.Mirrors == nil {
			out.Mirrors = map[string][]string{}
		}
		out.Mirrors[host] = append(out.Mirrors[host], address)
	}
	return out, nil
}

// A byteSize is a flag such as 512MiB.
type byteSize int64

var byteUnits = []struct {
	suffix string
	size   int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1000}, {"MB", 1000_000}, {"GB", 1000_000_000},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1}, {"", 1},
}

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(strings.ToUpper(s), strings.ToUpper(u.suffix))
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/u.size {
			break
		}
		*b = byteSize(n * u.size)
		return nil
	}
	return errors.New("want a size such as 512MiB or 2GiB")
}

// String implements pflag.Value.
func (b *byteSize) String() string {
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		for _, unit := range byteUnits {
			if unit.suffix == u && int64(*b)%unit.size == 0 && *b > 0 {
				return strconv.FormatInt(int64(*b)/unit.size, 10) + u
			}
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type implements pflag.Value.
func (*byteSize) Type() string { return "size" }
