package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is a server that runs here, with its children.
type process struct {
	*exec.Cmd
	log     *tail
	ready   time.Duration // from its start to when it could serve hosts
	listens time.Duration // from its start to when it took connections
}

// tail keeps the end of what a program says, and when it first said something.
type tail struct {
	when string
	mu   sync.Mutex
	b    []byte
	at   time.Time
}

func (t *tail) seen() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, b...); t.at.IsZero() && t.when != "" && bytes.Contains(t.b, []byte(t.when)) {
		t.at = time.Now()
	}
	if n := len(t.b); n > 1<<16 {
		t.b = t.b[n-1<<15:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func (p *process) end() {
	_ = p.Process.Signal(os.Interrupt)
	_ = p.Wait()
}

// serve starts `bakehouse serve` on the store in dir and waits until it is ready.
func serve(ctx context.Context, program, dir string) (*process, *peer, error) {
	cmd := exec.CommandContext(ctx, program, "serve", "--store", filepath.Join(dir, "store"), "--listen", "127.0.0.1:0",
		"--tls-self-signed", filepath.Join(dir, "tls"), "--database", filepath.Join(dir, "inventory.db"),
		"--max-connections-per-address", "10000")
	p := &process{Cmd: cmd, log: &tail{}}
	cmd.Stderr = p.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	start := time.Now()
	p.log.when = "listening; "
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on https://")
	if err != nil || !ok {
		p.end()
		return nil, nil, fmt.Errorf("bakehouse serve: %q %w\n%s", line, err, p.log)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	ca, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		p.end()
		return nil, nil, err
	}
	to, err := newPeer(address, ca)
	for status := 0; err == nil && status != 200; {
		var c *conn
		if c, err = to.dial(ctx); err == nil {
			var a answer
			a, err = c.ask(get("/readyz"), false)
			status = a.status
			c.Close()
		}
		if status != 200 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err != nil {
		p.end()
		return nil, nil, fmt.Errorf("bakehouse serve: %w\n%s", err, p.log)
	}
	p.ready, p.listens = time.Since(start), p.log.seen().Sub(start)
	return p, to, nil
}

// nginx answers 204 to everything, and the file segment, with the server's certificate.
func nginx(ctx context.Context, dir string, segment []byte) (*process, *peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	l.Close()
	home, as := filepath.Join(dir, "nginx"), ""
	if os.Getuid() == 0 {
		as = "user root;\n" // or its workers may not enter the directory
	}
	config := fmt.Sprintf(`%[4]sdaemon off;
worker_processes auto;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 10000; }
http {
	access_log off;
	sendfile on;
	default_type application/octet-stream;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 100000000;
	server {
		listen %[2]s ssl backlog=4096;
		ssl_certificate %[3]s/tls/server.pem;
		ssl_certificate_key %[3]s/tls/server.key;
		ssl_protocols TLSv1.3;
		ssl_ecdh_curve X25519;
		location / { return 204; }
		location /segment { root %[1]s; }
	}
}
`, home, address, dir, as)
	if err := errors.Join(os.Mkdir(home, 0o755), os.WriteFile(filepath.Join(home, "segment"), segment, 0o644),
		os.WriteFile(filepath.Join(home, "conf"), []byte(config), 0o644)); err != nil {
		return nil, nil, err
	}
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	p := &process{Cmd: exec.CommandContext(ctx, program, "-p", home, "-c", filepath.Join(home, "conf")), log: &tail{}}
	p.Stderr = p.log
	p.Cancel = func() error { return p.Process.Signal(os.Interrupt) } // its children end with it
	if err := p.Start(); err != nil {
		return nil, nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		p.end()
		return nil, nil, err
	}
	to, err := newPeer(address, ca)
	if err == nil {
		for range 1000 {
			var c *conn
			if c, err = to.dial(ctx); err == nil {
				return p, to, c.Close()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	p.end()
	return nil, nil, fmt.Errorf("nginx: %w\n%s", err, p.log)
}

// used is the processor time of a process and its children so far.
func (p *process) used() time.Duration {
	self := strconv.Itoa(p.Process.Pid)
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	var ticks int64
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // ended meanwhile
		}
		pid, _, _ := strings.Cut(string(b), " ")
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) < 13 || pid != self && fields[1] != self {
			continue
		}
		for _, f := range fields[11:13] { // utime, stime of proc(5)
			n, _ := strconv.ParseInt(f, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ
}

// of reads a number of a file in /proc/PID: kB of status, bytes of io.
func (p *process) of(file, key string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.Process.Pid, file))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// memory is the resident set, in MB.
func (p *process) memory() float64 { return float64(p.of("status", "VmRSS")) / 1000 }

// peak is the most that it was since resetPeak.
func (p *process) peak() float64 { return float64(p.of("status", "VmHWM")) / 1000 }

func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Process.Pid), []byte("5"), 0)
}

// written is what it had written to disk, in bytes.
func (p *process) written() int64 { return p.of("io", "write_bytes") }

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
