package confine

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fault"
)

// pool is processes that evaluate, each one request at a time.
type pool struct {
	slots chan struct{} // one is held while a process works
	mu    sync.Mutex
	idle  []*process
}

// shared are the processes of this program: one for each processor, which end with it.
var shared = &pool{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}

// process is a child that evaluates within limits.
type process struct {
	limits engine.Limits
	cmd    *exec.Cmd
	stdin  io.Closer
	to     *gob.Encoder
	from   *gob.Decoder
	said   *head
	known  map[string]bool // sources that it was sent
}

// maxKnown bounds how many plugins a process keeps open.
const maxKnown = 64

// ask has a process answer. The error is an *exceededError if it was killed for its limits or died.
func (p *pool) ask(ctx context.Context, l engine.Limits, src *result.Source, r request) (*response, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c, err := p.take(l)
	if err != nil {
		return nil, err
	}
	got, err := c.ask(ctx, src, r)
	if err != nil || got.Exceeded {
		c.end()
		if err == nil {
			err = &exceededError{got.Failed}
		}
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	return got, nil
}

// take is an idle process with these limits, or a new one.
func (p *pool) take(l engine.Limits) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		if p.idle = p.idle[:len(p.idle)-1]; c.limits == l {
			return c, nil
		}
		c.end()
	}
	return start(l)
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.end()
	}
	p.idle = nil
}

// start runs this program as one that evaluates.
func start(l engine.Limits) (*process, error) {
	program, err := os.Executable()
	if _, e := os.Stat("/proc/self/exe"); e == nil {
		program, err = "/proc/self/exe", nil // also after an upgrade has replaced the file
	}
	c := &process{limits: l, said: &head{}, known: map[string]bool{}}
	// Nothing of the environment: CUE has variables of its own that change what it evaluates to.
	c.cmd = &exec.Cmd{Path: program, Args: []string{name}, Env: []string{"GOTRACEBACK=none"}, Stderr: c.said}
	if runtime.GOOS == "windows" {
		c.cmd.Env = append(c.cmd.Env, "SYSTEMROOT="+os.Getenv("SYSTEMROOT"))
	}
	var in io.WriteCloser
	var out io.Reader
	if err == nil {
		in, err = c.cmd.StdinPipe()
	}
	if err == nil {
		out, err = c.cmd.StdoutPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("cannot start a process to evaluate CUE: %w", err),
			"%s must be executable, and the user may not be at the limit of processes", program)
	}
	c.stdin, c.to, c.from = in, gob.NewEncoder(in), gob.NewDecoder(out)
	if err := c.to.Encode(l); err != nil {
		return nil, c.died(err)
	}
	return c, nil
}

// ask sends a request and reads the answer. After an error the process is of no use.
func (c *process) ask(ctx context.Context, src *result.Source, r request) (*response, error) {
	if r.Key == "" || !c.known[r.Key] {
		r.Source = src
		if r.Key != "" && src.Definition == result.PluginDefinition {
			if r.Forget = len(c.known) == maxKnown; r.Forget {
				clear(c.known)
			}
			c.known[r.Key] = true
		}
	}
	// The process sees to its limits by itself, unless it is past that.
	late := time.AfterFunc(c.limits.Time+10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	defer context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })()
	got := &response{}
	err := c.to.Encode(r)
	if err == nil {
		err = c.from.Decode(got)
	}
	if err == nil {
		return got, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("evaluation stopped: %w", context.Cause(ctx))
	}
	if !late.Stop() {
		return nil, &exceededError{fmt.Sprintf("evaluation takes longer than %s", c.limits.Time)}
	}
	return nil, c.died(err)
}

// died words what a process says that ended before it answered.
func (c *process) died(cause error) error {
	c.end()
	said := c.said.String()
	switch first, _, _ := strings.Cut(strings.TrimSpace(said), "\n"); {
	case strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"),
		strings.Contains(said, "len out of range"):
		return &exceededError{fmt.Sprintf("evaluation takes more than %d MB of memory", c.limits.Memory>>20)}
	case strings.Contains(said, "stack exceeds"), strings.Contains(said, "stack overflow"):
		return &exceededError{"values are nested too deeply"}
	case first != "":
		return &exceededError{"CUE fails on it: " + first}
	}
	return &exceededError{fmt.Sprintf("the process that evaluates it ended: %v (%v)", c.cmd.ProcessState, cause)}
}

// end ends the process and waits for it.
func (c *process) end() {
	if c.cmd.ProcessState != nil {
		return
	}
	_ = c.stdin.Close()
	_ = c.cmd.Process.Kill() // one that died has said why before its output ended
	_ = c.cmd.Wait()
}

// head keeps the first bytes that are written.
type head struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *head) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if left := 4096 - h.b.Len(); left > 0 {
		h.b.Write(b[:min(left, len(b))])
	}
	return len(b), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}
