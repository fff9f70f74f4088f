package imagetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// postgresPrograms is where Debian has the programs of a server, which are on no
// PATH.
const postgresPrograms = "/usr/lib/postgresql/*/bin"

// Postgres gives the URL of an empty PostgreSQL database of the test's own, which
// goes when the test ends. The server is one for all tests of this machine's user:
// the first that asks makes and starts it in the temporary folder, and it goes on
// until scripts/test.sh stops it. As root it runs as the user postgres, since it
// refuses to as root. The error is for a machine without PostgreSQL.
func Postgres(tb testing.TB) (string, error) {
	tb.Helper()
	s, err := startPostgres()
	if err != nil {
		return "", fmt.Errorf("PostgreSQL: %w", err)
	}
	name := "t" + strings.ToLower(rand.Text())
	if err := s.run("psql", "-h", s.dir, "-U", "postgres", "-q", "-c", "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("PostgreSQL: %w", err)
	}
	tb.Cleanup(func() {
		if err := s.run("psql", "-h", s.dir, "-U", "postgres", "-q", "-c", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Log("the test's database stays:", err)
		}
	})
	return "postgres://postgres@/" + name + "?host=" + url.QueryEscape(s.dir), nil
}

// A postgresServer is one whose data and socket are in a directory.
type postgresServer struct {
	dir string
	bin string
}

// startPostgres starts the server, unless another test has.
func startPostgres() (*postgresServer, error) {
	bins, err := filepath.Glob(postgresPrograms)
	if err != nil || len(bins) == 0 {
		return nil, fmt.Errorf("no server in %s (Debian: apt-get install postgresql)", postgresPrograms)
	}
	s := &postgresServer{dir: filepath.Join(os.TempDir(), fmt.Sprintf("strata-postgres-%d", os.Getuid())), bin: bins[len(bins)-1]}
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.run("pg_isready", "-q", "-h", s.dir) == nil {
		return s, nil
	}
	data := filepath.Join(s.dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
		if err := s.run(filepath.Join(s.bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"); err != nil {
			return nil, err
		}
	}
	// Its data are worth nothing after a crash of the machine.
	options := "-c listen_addresses='' -c unix_socket_directories=" + s.dir + " -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300"
	return s, s.run(filepath.Join(s.bin, "pg_ctl"), "-D", data, "-l", filepath.Join(s.dir, "log"), "-w", "-s", "-o", options, "start")
}

func (s *postgresServer) makeDir() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(s.dir, uid, -1)
}

// lock lets one process at a time start the server. A lock of a process that was
// killed is taken after a while.
func (s *postgresServer) lock() (unlock func(), err error) {
	path := filepath.Join(s.dir, "starting")
	const patience = time.Minute
	for {
		err := os.Mkdir(path, 0o700)
		if err == nil {
			return func() { _ = os.Remove(path) }, nil
		}
		if st, statErr := os.Stat(path); statErr == nil && time.Since(st.ModTime()) > patience {
			_ = os.Remove(path)
			continue
		}
		if !os.IsExist(err) {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// run runs a program as the user that the server may run as.
func (s *postgresServer) run(name string, args ...string) error {
	if os.Getuid() == 0 {
		args = append([]string{"-u", "postgres", "--", name}, args...)
		name = "runuser"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	// The server outlives this process: it gets none of its files.
	out, err := os.CreateTemp("", "strata-postgres-out-*")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }() // it is in the temporary folder
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said)
	}
	return nil
}
