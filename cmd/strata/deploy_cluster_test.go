package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// waitFor asks until there is no error.
func waitFor(t *testing.T, ask func() error) {
	t.Helper()
	const patience = time.Minute
	var err error
	for start := time.Now(); time.Since(start) < patience; time.Sleep(100 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// A composed is the cluster of compose.yaml without containers: the same scripts,
// configuration and secrets, on addresses of this machine.
type composed struct {
	dir  string // what containers mount
	file composeFile
	port string // of PostgreSQL
	bin  string // its programs
}

// postgresEntrypoint is what the scripts use of that of PostgreSQL's image.
const postgresEntrypoint = `#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -D "$PGDATA" -U postgres -A scram-sha-256 --auth-local=trust --pwfile="$POSTGRES_PASSWORD_FILE" --no-sync >/dev/null
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses= -c fsync=off -k $PGHOST" start >/dev/null
  sh "$MOUNTED/primary.sh"
  pg_ctl -D "$PGDATA" -w -s -m fast stop
fi
exec "$@" -c listen_addresses="$LISTEN" -c fsync=off -k "$PGHOST"
`

// newComposed makes the secrets, and puts scripts where PostgreSQL's user can read them.
func newComposed(t *testing.T) *composed {
	t.Helper()
	c := &composed{dir: makeSecrets(t), file: readDeployed[composeFile](t, "compose/compose.yaml"), bin: postgresPrograms(t), port: freePort(t)}
	for _, dir := range []string{c.dir, filepath.Dir(c.dir), filepath.Join(c.dir, "secrets")} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"start.sh", "primary.sh"} {
		text, err := os.ReadFile(filepath.Join(deploy, "compose/postgres", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.dir, "docker-entrypoint.sh"), []byte(postgresEntrypoint), 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

func (c *composed) secret(name string) string { return filepath.Join(c.dir, "secrets", name) }

// postgresPrograms is the folder of the programs of PostgreSQL's server.
func postgresPrograms(t *testing.T) string {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		missing(t, "PostgreSQL is not installed")
	}
	return bins[len(bins)-1]
}

// asPostgres is a program in the folders of path, by the user that PostgreSQL may run as.
func asPostgres(ctx context.Context, path, name string, args ...string) *exec.Cmd {
	if os.Getuid() == 0 {
		args = append([]string{"-u", "postgres", "--", name}, args...)
		name = "runuser"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	return cmd
}

// runPostgres runs one of PostgreSQL's programs to its end. What it says is in the error,
// by way of a file: a pipe would be inherited by a server that it starts, and never end.
func runPostgres(ctx context.Context, bin, program string, args ...string) error {
	cmd := asPostgres(ctx, bin, program, args...)
	log, err := os.CreateTemp("", "strata-postgres-log-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(log.Name()) }()
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s %v: %w\n%s", program, args, err, text)
	}
	return nil
}

// ofPostgres makes a folder one of the user that PostgreSQL may run as.
func ofPostgres(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
}

// asPostgres is a program of the scripts or of PostgreSQL.
func (c *composed) asPostgres(env []string, name string, args ...string) *exec.Cmd {
	cmd := asPostgres(context.Background(), c.dir+":"+c.bin, name, args...)
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// postgres starts a database server of compose.yaml at an address, by its script.
func (c *composed) postgres(t *testing.T, service, address, standbyOf string) (data string) {
	t.Helper()
	dir := filepath.Join(c.dir, service)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ofPostgres(t, dir)
	data = filepath.Join(dir, "pgdata")
	cmd := c.asPostgres([]string{
		"PGDATA=" + data, "PGHOST=" + dir, "PGPORT=" + c.port, "LISTEN=" + address, "MOUNTED=" + c.dir, "STANDBY_OF=" + standbyOf,
		"POSTGRES_PASSWORD_FILE=" + c.secret("postgres_password"), "STRATA_PASSWORD_FILE=" + c.secret("strata_password"),
		"REPLICATION_PASSWORD_FILE=" + c.secret("replication_password"),
	}, "sh", append([]string{filepath.Join(c.dir, "start.sh")}, c.file.Services[service].Command...)...)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // how it is stopped is its exit code
	t.Cleanup(func() {
		c.stopPostgres(data)
		<-ended
		if t.Failed() {
			t.Logf("%s:\n%s", service, log.String())
		}
	})
	waitFor(t, func() error {
		if out, err := c.asPostgres(nil, "pg_isready", "-h", address, "-p", c.port).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", service, err, out)
		}
		return nil
	})
	return data
}

func (c *composed) stopPostgres(data string) {
	_ = c.asPostgres(nil, "pg_ctl", "-D", data, "-m", "immediate", "-w", "-s", "stop").Run() // it may have been stopped before
}

// psql asks a database server, on its socket, by its administrator.
func (c *composed) psql(t *testing.T, service, question string) string {
	t.Helper()
	out, err := c.asPostgres(nil, "psql", "-h", filepath.Join(c.dir, service), "-p", c.port, "-U", "postgres", "-At", "-c", question).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", question, err, out)
	}
	return strings.TrimSpace(string(out))
}

// startBalancer starts HAProxy before the instances, as it is shipped, with a certificate
// and its key. roots has the certificate.
func startBalancer(t *testing.T, pem string, instances ...string) (address string, roots *x509.CertPool) {
	t.Helper()
	address = "127.0.0.1:" + freePort(t)
	cmd := exec.Command(program(t, "haproxy"), "-db", "-f", filepath.Join(deploy, "compose/haproxy.cfg"))
	cmd.Env = append(os.Environ(), "STRATA_BIND="+address, "STRATA_TLS="+pem)
	for i, instance := range instances {
		cmd.Env = append(cmd.Env, fmt.Sprintf("STRATA_%d=%s", i+1, instance))
	}
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy:\n%s", log.String())
		}
	})
	certificate, err := os.ReadFile(pem)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return address, roots
}

// balancer starts HAProxy before the instances, and gives a client of it.
func (c *composed) balancer(t *testing.T, instances ...string) (url string, client *http.Client) {
	t.Helper()
	address, roots := startBalancer(t, c.secret("tls.pem"), instances...)
	// A connection for each request, so that each is balanced anew.
	client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, DisableKeepAlives: true}}
	return "https://" + address, client
}

// TestComposedCluster: what compose.yaml has works together. A replica copies the
// primary; instances share the work behind HAProxy; when one is killed, no request fails;
// when the primary is lost and the replica promoted, the instances go on with it.
func TestComposedCluster(t *testing.T) {
	t.Parallel()
	c := newComposed(t)
	const first, second = "127.0.77.1", "127.0.77.2"
	primary := c.postgres(t, "postgres-1", first, "")
	c.postgres(t, "postgres-2", second, first)

	settings := c.file.Services["strata-1"].Environment
	database := strings.NewReplacer("@postgres-1,postgres-2/", "@"+first+":"+c.port+","+second+":"+c.port+"/", "/run/secrets/pgpass", c.secret("pgpass")).Replace(settings["STRATA_DATABASE"])
	instance := func() *servingProcess {
		return startServer(t, t.TempDir(), "--sync-every", "0", "--database", database, "--key-file", c.secret("strata_key"))
	}
	a := instance()
	token := a.setup(t)
	b := instance()
	host := func(s *servingProcess) string { return strings.TrimPrefix(s.url, "http://") }
	url, client := c.balancer(t, host(a), host(b), "127.0.0.1:"+freePort(t)) // the third one is down

	ask := func(method, path, body string) error {
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode >= http.StatusBadRequest {
			err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
		}
		return err
	}
	waitFor(t, func() error { return ask("GET", "/readyz", "") })
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := ask("GET", "/api/v1/images", ""); err != nil {
			t.Errorf("after an instance was killed: %v", err)
		}
	}

	if got := c.psql(t, "postgres-1", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"); got != "1" {
		t.Fatalf("%s replicas stream", got)
	}
	// What stands in the replica's log is replayed before it takes writes.
	waitFor(t, func() error {
		if c.psql(t, "postgres-1", "SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication") != "t" {
			return fmt.Errorf("the replica lags")
		}
		return nil
	})
	c.stopPostgres(primary)
	c.psql(t, "postgres-2", "SELECT pg_promote()")
	waitFor(t, func() error {
		return ask("POST", "/api/v1/registries", `{"name": "after", "url": "https://registry.example.com"}`)
	})
	a.stop(t)
}
