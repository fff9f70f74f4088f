package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A cable is a network connection between two programs that can be cut: a TCP proxy.
type cable struct {
	listener    net.Listener
	network, to string
	// refuses lets what connects to a cut one end at once, instead of getting no answer.
	refuses bool
	// slow carries a few bytes at a time.
	slow atomic.Bool

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newCable(t *testing.T, network, to string) *cable {
	t.Helper()
	return newCableAt(t, "127.0.0.1", network, to)
}

// newCableAt is newCable, whose near end is at another address than the loopback's.
func newCableAt(t *testing.T, host, network, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, network: network, to: to, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); c.setCut(true) })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(from)
		}
	}()
	return c
}

func (c *cable) address() string { return c.listener.Addr().String() }

// setCut cuts the cable, or mends it. What was connected is lost, as when a host is gone;
// what connects to a cut one gets no answer, unless it refuses.
func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for conn := range c.conns {
		_ = conn.Close()
	}
	clear(c.conns)
}

// keep notes a connection; false when the cable is cut.
func (c *cable) keep(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[conn] = true
	return !c.cut
}

func (c *cable) carry(from net.Conn) {
	if !c.keep(from) {
		if c.refuses {
			_ = from.Close()
		}
		return // else open, and silent, until the cable is mended
	}
	defer from.Close()
	to, err := net.DialTimeout(c.network, c.to, 5*time.Second)
	if err != nil {
		return
	}
	defer to.Close()
	if !c.keep(to) {
		return
	}
	done := make(chan struct{}, 2)
	for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(slowly{ends[0], c}, ends[1])
			done <- struct{}{}
		}()
	}
	<-done
}

// slowly writes what a cable carries as fast as that is.
type slowly struct {
	io.Writer
	cable *cable
}

// Write implements io.Writer.
func (s slowly) Write(p []byte) (n int, err error) {
	const few, pause = 200, 100 * time.Millisecond
	for n < len(p) && err == nil {
		piece := p[n:]
		if s.cable.slow.Load() {
			piece = piece[:min(few, len(piece))]
			time.Sleep(pause)
		}
		var written int
		written, err = s.Writer.Write(piece)
		n += written
	}
	return n, err
}

// A chaosPostgres is a primary with a replica that has each commit before it is told.
type chaosPostgres struct {
	t      *testing.T
	dir    string
	bin    string // its programs
	ports  [2]string
	primal int // which one is the primary
	// disk is what both have their data on, where it can be filled.
	disk *smallDisk
}

// startChaosPostgres starts the pair; with small, on a disk that can be filled.
func startChaosPostgres(t *testing.T, small bool) *chaosPostgres {
	t.Helper()
	p := &chaosPostgres{t: t, bin: postgresPrograms(t), ports: [2]string{freePort(t), freePort(t)}}
	if small {
		const megabytes = 2048
		p.disk = newSmallDisk(t, megabytes)
		p.dir = p.disk.path
	} else {
		dir, err := os.MkdirTemp("", "strata-chaos-")
		if err != nil {
			t.Fatal(err)
		}
		p.dir = dir
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	ofPostgres(t, p.dir)
	p.must("initdb", "-D", p.data(0), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	p.start(0, true)
	t.Cleanup(func() {
		for i := range p.ports {
			_ = p.run("pg_ctl", "-D", p.data(i), "-m", "immediate", "-s", "stop")
		}
	})
	p.replica(1, 0)
	p.ask("postgres", "CREATE ROLE strata LOGIN")
	p.ask("postgres", "CREATE DATABASE strata OWNER strata")
	return p
}

func (p *chaosPostgres) data(i int) string { return filepath.Join(p.dir, fmt.Sprintf("data%d", i)) }

// start starts one of the servers; a commit waits for the other when that follows.
func (p *chaosPostgres) start(i int, followed bool) {
	p.t.Helper()
	standby := "''"
	if followed {
		standby = "'*'"
	}
	options := fmt.Sprintf("-c port=%s -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=80 -c wal_keep_size=64MB -c synchronous_standby_names=%s", p.ports[i], standby)
	p.must("pg_ctl", "-D", p.data(i), "-l", filepath.Join(p.dir, fmt.Sprintf("log%d", i)), "-w", "-s", "-o", options, "start")
}

// replica makes one server a replica of the other.
func (p *chaosPostgres) replica(i, of int) {
	p.t.Helper()
	_ = os.RemoveAll(p.data(i))
	p.must("pg_basebackup", "-D", p.data(i), "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", p.ports[of], "-U", "postgres", "--no-sync")
	p.start(i, false)
}

// restart stops the primary, fast or as a crash does, and starts it again.
func (p *chaosPostgres) restart(mode string) {
	p.t.Helper()
	p.must("pg_ctl", "-D", p.data(p.primal), "-m", mode, "-w", "-s", "stop")
	p.start(p.primal, true)
}

// failover lets the primary be gone, and the replica take its place; the one that was is
// made its replica.
func (p *chaosPostgres) failover() {
	p.t.Helper()
	was := p.primal
	p.must("pg_ctl", "-D", p.data(was), "-m", "immediate", "-w", "-s", "stop")
	p.primal = 1 - was
	p.must("pg_ctl", "-D", p.data(p.primal), "-w", "-s", "promote")
}

// follow makes the one that was the primary a replica, and commits wait for it.
func (p *chaosPostgres) follow() {
	p.t.Helper()
	p.replica(1-p.primal, p.primal)
	p.ask("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
	p.ask("postgres", "SELECT pg_reload_conf()")
}

// fullDisk fills the disk for a while. A server that has ended for it is started again, as
// an init system does.
func (p *chaosPostgres) fullDisk(d time.Duration) {
	p.t.Helper()
	p.disk.fill()
	time.Sleep(d)
	p.disk.free()
	for i := range p.ports {
		if p.run("pg_ctl", "-D", p.data(i), "status") != nil {
			p.start(i, i == p.primal)
		}
	}
}

func (p *chaosPostgres) must(program string, args ...string) {
	p.t.Helper()
	if err := p.run(program, args...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *chaosPostgres) run(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return runPostgres(ctx, p.bin, program, args...)
}

// full lets the server take no connection of the instances for a while, as when others have
// all that it may give, and ends those that they have. meanwhile is done before it goes on.
func (p *chaosPostgres) full(meanwhile func()) {
	p.t.Helper()
	p.sql("ALTER ROLE strata CONNECTION LIMIT 0")
	p.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'strata'")
	meanwhile()
	p.sql("ALTER ROLE strata CONNECTION LIMIT -1")
}

// sql asks the primary for what is in the instances' database, as ask does.
func (p *chaosPostgres) sql(query string) []string {
	p.t.Helper()
	return p.ask("strata", query)
}

// ask asks the primary, and gives rows of columns with | between.
func (p *chaosPostgres) ask(database, query string) []string {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), "psql", "-h", "127.0.0.1", "-p", p.ports[p.primal], "-U", "postgres", "-d", database, "-qAtc", query).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", query, err, out)
	}
	return strings.Fields(strings.ReplaceAll(string(out), " ", "_"))
}

// A chaosInstance is a `strata serve` of the cluster, with cables of its own to both
// database servers.
type chaosInstance struct {
	t      *testing.T
	n      int
	dir    string
	listen string
	args   []string
	cables [2]*cable
	// binary is the program; by default what scripts/chaos.sh has built.
	binary string
	// skew is by how much its clock is ahead, with a binary of skewedStrata.
	skew time.Duration

	*process
	log lockedBuffer
}

func (i *chaosInstance) start() {
	i.t.Helper()
	i.process = newProcess(i.t, i.dir, i.args...)
	if binary := cmp.Or(i.binary, os.Getenv("STRATA_CHAOS_BINARY")); binary != "" {
		i.Path = binary
	}
	i.Env = append(i.Env, fmt.Sprintf("%s=%d", skewVariable, int(i.skew.Seconds())), "XDG_DATA_HOME="+filepath.Join(i.dir, "data"), "SSL_CERT_FILE="+os.Getenv("SSL_CERT_FILE"))
	i.Stderr, i.Stdout = &i.log, io.Discard
	if err := i.Start(); err != nil {
		i.t.Fatal(err)
	}
}

// kill ends it as a host that loses its power does.
func (i *chaosInstance) kill() {
	_ = i.Process.Kill()
	_ = i.Wait()
}

func (i *chaosInstance) signal(s syscall.Signal) {
	i.t.Helper()
	if err := i.Process.Signal(s); err != nil {
		i.t.Fatal(err)
	}
}

func (i *chaosInstance) setCut(cut bool) {
	for _, c := range i.cables {
		c.setCut(cut)
	}
}

// A chaosCluster is three instances over a PostgreSQL pair behind HAProxy.
type chaosCluster struct {
	t         *testing.T
	postgres  *chaosPostgres
	instances []*chaosInstance
	// url of the balancer, and the file of its certificate.
	url    string
	client *http.Client
	cert   string
}

const chaosInstances = 3

// startChaosCluster starts it over a database, with instances whose clocks are off by skews.
func startChaosCluster(t *testing.T, postgres *chaosPostgres, mirror string, skews ...time.Duration) *chaosCluster {
	t.Helper()
	c := &chaosCluster{t: t, postgres: postgres}
	skewed := ""
	if len(skews) > 0 {
		skewed = skewedStrata(t)
	}
	dir := t.TempDir()
	key := filepath.Join(dir, "server.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range chaosInstances {
		i := &chaosInstance{t: t, n: n, dir: filepath.Join(dir, fmt.Sprint("instance", n)), listen: "127.0.0.1:" + freePort(t)}
		if n < len(skews) {
			i.binary, i.skew = skewed, skews[n]
		}
		for j, port := range c.postgres.ports {
			i.cables[j] = newCable(t, "tcp", "127.0.0.1:"+port)
		}
		i.args = append(i.serve(key, mirror), "--listen", i.listen, "--trusted-proxy", "127.0.0.0/8")
		c.instances = append(c.instances, i)
		i.start()
		t.Cleanup(func() {
			_ = i.Process.Signal(syscall.SIGCONT)
			i.kill()
			if t.Failed() {
				t.Logf("instance %d:\n%s", i.n, lastLines(i.log.String(), 40))
			}
		})
	}
	c.balance(dir)
	return c
}

// serve is the command of the instance, but for where it listens.
func (i *chaosInstance) serve(key, mirror string) []string {
	url := fmt.Sprintf("postgres://strata@%s,%s/strata?target_session_attrs=read-write&connect_timeout=2", i.cables[0].address(), i.cables[1].address())
	return []string{"serve", "--database", url, "--key-file", key, "--mirror", mirror, "--kev", "none", "--epss", "none", "--ecosystem", "npm",
		"--sync-every", "1h", "--crawl-every", "20s", "--workers", "2", "--allow-private-addresses", "--shutdown-timeout", "10s"}
}

// balance starts HAProxy before the instances, and waits until it has them all.
func (c *chaosCluster) balance(dir string) {
	c.t.Helper()
	c.startBalancer(dir)
	c.eventually("the balancer has all instances", func() bool {
		if c.ready() < chaosInstances {
			return false
		}
		res, err := c.client.Get(c.url + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func (c *chaosCluster) startBalancer(dir string) {
	c.t.Helper()
	c.cert = filepath.Join(dir, "tls.pem")
	selfSigned(c.t, c.cert)
	var listeners []string
	for _, i := range c.instances {
		listeners = append(listeners, i.listen)
	}
	address, roots := startBalancer(c.t, c.cert, listeners...)
	c.url = "https://" + address
	c.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 10}}
}

// ready is how many instances are.
func (c *chaosCluster) ready() (n int) {
	client := http.Client{Timeout: 2 * time.Second}
	for _, i := range c.instances {
		res, err := client.Get("http://" + i.listen + "/readyz")
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			n++
		}
	}
	return n
}

// eventually waits for something, and gives how long it took.
func (c *chaosCluster) eventually(what string, done func() bool) time.Duration {
	c.t.Helper()
	const patience = 4 * time.Minute
	return waitUntil(c.t, what, patience, done)
}

// lastLines are those of a log that tell of faults.
func lastLines(text string, n int) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.Contains(line, "level=INFO") })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// selfSigned writes a certificate for the loopback, with its key.
func selfSigned(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "strata"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// faultsOf are the lines of a log that no instance may write.
func faultsOf(log string) (out []string) {
	for line := range strings.Lines(log) {
		for _, word := range []string{"panic", "DATA RACE", "violates", "goroutine "} {
			if strings.Contains(line, word) {
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	return slices.Compact(out)
}
