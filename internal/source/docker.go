package source

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"strata/internal/image"
)

// defaultDockerSocket is where Docker listens when nothing else is said.
const defaultDockerSocket = "unix:///var/run/docker.sock"

// openDocker opens an image that the Docker daemon has.
func openDocker(ctx context.Context, name string, o Options) ([]*image.Image, io.Closer, error) {
	address, err := dockerAddress(o)
	if err != nil {
		return nil, nil, err
	}
	return openEngine(ctx, []endpoint{address}, name, o)
}

// An endpoint is where an engine listens.
type endpoint struct {
	// url is unix:///path, tcp://host:port, http:// or https://.
	url string
	// tls is nil for an engine that is spoken to in the clear.
	tls *tls.Config
}

// dockerAddress finds the daemon as the docker command does: DOCKER_HOST, else
// the context of DOCKER_CONTEXT or of config.json, else the default socket, or
// the user's own one of a rootless daemon.
func dockerAddress(o Options) (endpoint, error) {
	if o.DockerHost != "" {
		return withEnvironmentTLS(o.DockerHost, o.Env)
	}
	if host := o.Env("DOCKER_HOST"); host != "" {
		return withEnvironmentTLS(host, o.Env)
	}
	if name := contextName(o.Env); name != "" && name != "default" {
		return contextAddress(name, o.Env)
	}
	for _, path := range userSockets(o.Env) {
		if !onDisk("/var/run/docker.sock") && onDisk(path) {
			return endpoint{url: "unix://" + path}, nil
		}
	}
	return endpoint{url: defaultDockerSocket}, nil
}

// userSockets are where Docker listens without root, and on a Mac.
func userSockets(env func(string) string) []string {
	var out []string
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		out = append(out, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Join(home, ".docker/run/docker.sock"))
	}
	return out
}

// withEnvironmentTLS adds the keys of DOCKER_CERT_PATH when DOCKER_TLS_VERIFY is
// set.
func withEnvironmentTLS(host string, env func(string) string) (endpoint, error) {
	a := endpoint{url: host}
	if env("DOCKER_TLS_VERIFY") == "" || !strings.HasPrefix(host, "tcp://") {
		return a, nil
	}
	dir := env("DOCKER_CERT_PATH")
	if dir == "" {
		dir = dockerConfigDir(env)
	}
	config, err := clientTLS(dir, false)
	if err != nil {
		return endpoint{}, fmt.Errorf("DOCKER_TLS_VERIFY is set: %w", err)
	}
	a.tls = config
	return a, nil
}

// clientTLS reads ca.pem, cert.pem and key.pem of a folder, as far as they are
// there.
func clientTLS(dir string, skipVerify bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify} // the user's Docker context says so
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	switch {
	case err == nil:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", filepath.Join(dir, "ca.pem"))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if !onDisk(cert) && !onDisk(key) {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

func dockerConfigDir(env func(string) string) string {
	if dir := env("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".docker")
}

// contextName is the chosen Docker context. A config.json that can't be read
// chooses none: credentials are where its error is told.
func contextName(env func(string) string) string {
	if name := env("DOCKER_CONTEXT"); name != "" {
		return name
	}
	raw, err := os.ReadFile(filepath.Join(dockerConfigDir(env), "config.json"))
	if err != nil {
		return ""
	}
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	if json.Unmarshal(raw, &config) != nil {
		return ""
	}
	return config.CurrentContext
}

// contextAddress reads a context as the docker command stores it: below contexts,
// in folders named by the sha256 of its name.
func contextAddress(name string, env func(string) string) (endpoint, error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	raw, err := os.ReadFile(filepath.Join(dockerConfigDir(env), "contexts/meta", id, "meta.json"))
	if err != nil {
		return endpoint{}, fmt.Errorf("Docker context %q: %w", name, err)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(raw, &meta); err != nil {
		return endpoint{}, fmt.Errorf("Docker context %q: its meta.json is not valid JSON: %w", name, err)
	}
	docker := meta.Endpoints["docker"]
	if docker.Host == "" {
		return endpoint{}, fmt.Errorf("Docker context %q: names no host", name)
	}
	a := endpoint{url: docker.Host}
	if dir := filepath.Join(dockerConfigDir(env), "contexts/tls", id, "docker"); onDisk(dir) {
		if a.tls, err = clientTLS(dir, docker.SkipTLSVerify); err != nil {
			return endpoint{}, fmt.Errorf("Docker context %q: %w", name, err)
		}
	}
	return a, nil
}

// network is how an address is dialled, and the base of its requests.
func (a endpoint) network() (network, address, base string, err error) {
	if strings.HasPrefix(a.url, "/") {
		return "unix", a.url, "http://localhost", nil
	}
	u, err := url.Parse(a.url)
	if err != nil {
		return "", "", "", fmt.Errorf("address %q: %w", a.url, err)
	}
	scheme := "http"
	if a.tls != nil || u.Scheme == "https" {
		scheme = "https"
	}
	switch u.Scheme {
	case "unix":
		return "unix", u.Path, "http://localhost", nil
	case "tcp", "http", "https":
		return "tcp", u.Host, scheme + "://" + u.Host, nil
	}
	return "", "", "", fmt.Errorf("address %q: only unix:// and tcp:// can be spoken to; save the image with `docker save` and give the file", a.url)
}
