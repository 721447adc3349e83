package inventorytest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"bakehouse/schema/needs"
)

// Cluster is a PostgreSQL server of a test's own, at a socket in a directory, with nothing on the network.
type Cluster struct {
	dir string
	cmd *exec.Cmd
}

var databases atomic.Int64

// shared is the server of this process.
var shared struct {
	once sync.Once
	c    *Cluster
	err  error
}

// PostgreSQL is a place in a server that all tests of the process share. Whoever uses it runs tests with Main.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	needs.All(t, "starts PostgreSQL")
	shared.once.Do(func() {
		shared.c, shared.err = newCluster(t)
		if shared.err == nil {
			shared.err = shared.c.Start()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.c.Database(t)
}

// NewCluster starts a server that the test may stop.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	needs.All(t, "starts PostgreSQL")
	c, err := newCluster(t)
	if err == nil {
		t.Cleanup(c.remove)
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Main runs tests and ends the shared server.
type Main struct{ M *testing.M }

// Run is m.Run.
func (m Main) Run() int {
	defer func() {
		if shared.c != nil {
			shared.c.remove()
		}
	}()
	return m.M.Run()
}

func newCluster(t testing.TB) (*Cluster, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		needs.Missing(t, "PostgreSQL is not installed")
	}
	dir, err := os.MkdirTemp("", "pg-") // its socket's path is short
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir}
	if os.Geteuid() == 0 { // as whom it refuses to run
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, uid, -1); err != nil {
			return nil, err
		}
	}
	cmd := c.command(found[len(found)-1], "-D", filepath.Join(dir, "data"), "-U", "postgres", "--auth=trust",
		"--no-sync", "--locale=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return c, nil
}

// command runs as the user postgres, and does not outlive the test.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		args = append([]string{"--reuid=postgres", "--regid=postgres", "--clear-groups", name}, args...)
		name = "setpriv"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = c.dir
	return cmd
}

// Start starts the server, again after Kill.
func (c *Cluster) Start() error {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return fmt.Errorf("there is no postgres: %w", err)
	}
	// Synced, unless everything is thrown away anyway: a server that is killed keeps what the system has.
	c.cmd = c.command(found[len(found)-1], "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "max_connections=60")
	var log bytes.Buffer
	c.cmd.Stderr = &log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, &log)
		}
		time.Sleep(10 * time.Millisecond) // until it listens
	}
}

// Kill ends the server and all its processes at once, as a crash would.
func (c *Cluster) Kill() {
	_ = c.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown: recovery from the log at the next start
	_ = c.cmd.Wait()
}

func (c *Cluster) remove() {
	if c.cmd != nil {
		c.Kill()
	}
	_ = os.RemoveAll(c.dir)
}

// URL is a database's location.
func (c *Cluster) URL(database string) string {
	return "postgres:///" + database + "?user=postgres&host=" + c.dir
}

// Database makes an empty one.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprint("d", databases.Add(1))
	c.Exec(t, "postgres", "CREATE DATABASE "+name)
	return c.URL(name)
}

// Exec runs a statement in a database.
func (c *Cluster) Exec(t testing.TB, database, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
