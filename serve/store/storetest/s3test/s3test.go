// Package s3test starts a real S3 server, versitygw, for tests.
package s3test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema/needs"
)

// Server is a running server with its data in a directory, a bucket being a directory there.
type Server struct {
	Address string // HOST:PORT
	dir     string
	program string
	cmd     *exec.Cmd
	log     bytes.Buffer // of what it prints, to be read once it is dead
	buckets int
	mu      sync.Mutex
}

// Credentials are those of the server, as AWS's environment has them.
func Credentials() map[string]string {
	return map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tested-secret"}
}

// Start builds the server of the module in .ci/peers and starts it. It ends with the test, and the test's environment
// has its credentials. Where not every test must run, the test is skipped: the build takes minutes the first time.
func Start(t *testing.T) *Server {
	t.Helper()
	needs.All(t, "builds and starts an S3 server")
	for name, value := range Credentials() {
		t.Setenv(name, value)
	}
	peers := ".ci/peers"
	for range 8 {
		if _, err := os.Stat(peers); err == nil {
			break
		}
		peers = filepath.Join("..", peers)
	}
	s, err := New(peers, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// New starts a server, built from the module in peers, with its data in dir. Kill ends it.
func New(peers, dir string) (*Server, error) {
	program, err := exec.Command("go", "-C", peers, "tool", "-n", "versitygw").Output() // builds it, if need be
	if err != nil {
		return nil, fmt.Errorf("building versitygw: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.Close()
	s := &Server{Address: l.Addr().String(), dir: dir, program: strings.TrimSpace(string(program))}
	return s, s.Restart()
}

// Restart starts a server that was killed, at the same address.
func (s *Server) Restart() error {
	s.log.Reset()
	s.cmd = exec.Command(s.program, "--port", s.Address, "--keep-alive", "posix", s.dir)
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY=tested-secret")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			s.Kill()
			return fmt.Errorf("the S3 server does not listen: %w: %s", err, &s.log)
		}
	}
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Bucket makes another bucket and returns its name.
func (s *Server) Bucket() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets++
	name := fmt.Sprintf("bucket%d", s.buckets)
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		panic(err)
	}
	return name
}

// File is the path of an object of a bucket, for those who alter it.
func (s *Server) File(bucket, object string) string { return filepath.Join(s.dir, bucket, object) }

// Location is that of a store in a bucket, reached at an address such as the server's own.
func Location(bucket, address string) string {
	return "s3://" + bucket + "/fleet?endpoint=http://" + address
}
