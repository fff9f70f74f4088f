package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChaosContainers runs the instances as containers of the image that ships, and takes
// them their network: to the database, the registry and the balancer at once, as when the
// cable of a machine is pulled. In the end all is held against a calm server, as TestChaos
// does.
func TestChaosContainers(t *testing.T) {
	if os.Getenv("STRATA_CHAOS") != "full" {
		t.Skip("STRATA_CHAOS is not full: make chaos")
	}
	d := newChaosDocker(t)
	w := newChaosWorld(t, 150)
	w.registry.cable = newCableAt(t, d.gateway, "tcp", w.registry.address)
	w.receiver.url = "http://" + newCableAt(t, d.gateway, "tcp", strings.TrimPrefix(w.receiver.url, "http://")).address()
	w.cluster = d.startCluster(w.mirror)
	w.begin()
	pushed := w.push()
	w.firstImages()
	stop := w.poll()
	w.withdrawn(d, 0, 12*time.Second)
	w.ended(1, ending{what: "a container is killed", hold: d.pause, goOn: d.unpause, kill: d.kill, start: d.start})
	pushed()
	writeChaosFeed(t, w.mirror, true)
	w.api.call("POST", "/api/v1/feeds/sync", nil, nil)
	w.settle()
	stop()
	w.check()
}

// A chaosDocker is a network of containers.
type chaosDocker struct {
	t                        *testing.T
	docker, network, gateway string
	cluster                  *chaosCluster
}

func newChaosDocker(t *testing.T) *chaosDocker {
	t.Helper()
	d := &chaosDocker{t: t, docker: dockerEngine(t), gateway: "172.31.249.1"}
	d.network = "strata-chaos-" + freePort(t)
	t.Cleanup(func() { _ = exec.Command(d.docker, "network", "rm", d.network).Run() })
	d.run("network", "create", "--subnet", "172.31.249.0/24", "--gateway", d.gateway, d.network)
	return d
}

func (d *chaosDocker) run(args ...string) string {
	d.t.Helper()
	return runDocker(d.t, d.docker, args...)
}

// name is that of the container of an instance.
func (d *chaosDocker) name(i *chaosInstance) string {
	return d.network + strings.ReplaceAll(i.listen, ":", "-")
}

// startCluster starts the containers before a PostgreSQL pair, behind HAProxy.
func (d *chaosDocker) startCluster(mirror string) *chaosCluster {
	d.t.Helper()
	binary := os.Getenv("STRATA_CHAOS_BINARY")
	if binary == "" {
		binary = buildStrata(d.t)
	}
	image := buildImage(d.t, d.docker, binary)
	c := &chaosCluster{t: d.t, postgres: startChaosPostgres(d.t, false)}
	d.cluster = c
	dir := d.t.TempDir()
	key := filepath.Join(dir, "server.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("ab", 32)+"\n"), 0o644); err != nil { // the user of the image is to read it
		d.t.Fatal(err)
	}
	feeds := filepath.Dir(mirror) // writeMirror makes the folder in it anew
	for n, address := range []string{"172.31.249.11", "172.31.249.12", "172.31.249.13"} {
		i := &chaosInstance{t: d.t, n: n, listen: net.JoinHostPort(address, "8080")}
		for j, port := range c.postgres.ports {
			i.cables[j] = newCableAt(d.t, d.gateway, "tcp", "127.0.0.1:"+port)
		}
		c.instances = append(c.instances, i)
		d.t.Cleanup(func() { _ = exec.Command(d.docker, "rm", "-f", "-v", d.name(i)).Run() })
		d.run(append([]string{"run", "-d", "--name", d.name(i), "--network", d.network, "--ip", address, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
			"-v", key + ":/run/key:ro", "-v", feeds + ":" + feeds + ":ro", image}, append(i.serve("/run/key", mirror), "--trusted-proxy", d.gateway+"/32")...)...)
		d.follow(i)
	}
	c.balance(dir)
	return c
}

// follow reads what an instance writes, also after it was started anew.
func (d *chaosDocker) follow(i *chaosInstance) {
	logs := exec.CommandContext(d.t.Context(), d.docker, "logs", "-f", d.name(i))
	logs.Stdout, logs.Stderr = &i.log, &i.log
	if err := logs.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() { _ = logs.Wait() }()
}

// withdrawn takes a container its network, and gives it back some time after the others
// have taken over what it had.
func (w *chaosWorld) withdrawn(d *chaosDocker, n int, after time.Duration) {
	w.t.Helper()
	i := w.cluster.instances[n]
	had := w.caught(i, d.pause, d.unpause)
	d.run("network", "disconnect", d.network, d.name(i))
	d.unpause(i)
	w.takenOver("a container is cut off from all", n, had)
	time.Sleep(after)
	address, _, _ := net.SplitHostPort(i.listen)
	d.run("network", "connect", "--ip", address, d.network, d.name(i))
	again := w.cluster.eventually("it is ready again", func() bool { return w.cluster.ready() == chaosInstances })
	w.say("container %d has its network back: ready %.1f s after", n, again.Seconds())
	w.figure("a container has its network back: until it is ready", again.Seconds(), "s")
}

// pause holds the container of an instance still, and unpause lets it go on.
func (d *chaosDocker) pause(i *chaosInstance)   { d.run("pause", d.name(i)) }
func (d *chaosDocker) unpause(i *chaosInstance) { d.run("unpause", d.name(i)) }

// kill kills the container of an instance, and start starts it again.
func (d *chaosDocker) kill(i *chaosInstance) { d.run("kill", d.name(i)) }

func (d *chaosDocker) start(i *chaosInstance) {
	d.t.Helper()
	d.run("start", d.name(i))
	d.follow(i)
}
