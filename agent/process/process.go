// Package process starts the programs of the system and of packages: with nothing on their input, only the environment
// that is given, and in a process group of their own, which is killed as a whole. What they print is bounded.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"time"
)

const (
	tailLines = 15
	tailBytes = 4 << 10
)

// New is a program that ends with ctx.
func New(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(environment(), env...)
	// A Ctrl-C on the terminal is for the updater; a time limit is for the program and all its children.
	ownGroup(c)
	c.WaitDelay = 5 * time.Second
	return c
}

// Run runs c, and returns the end of what it printed, which also goes to the log; log may be nil.
func Run(c *exec.Cmd, log *slog.Logger) ([]byte, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var out Last
	c.Stdout, c.Stderr = &out, &out
	log.Debug("run", "program", c.Args[0], "args", c.Args[1:])
	err := c.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a daemon that a script started keeps the pipe open
	}
	log.Debug("ended", "program", c.Args[0], "error", err, "output", string(out.Bytes))
	return out.Bytes, err
}

// As has c run as a user of this host, if that is another than root and we are root: nobody else can be anybody else.
func As(c *exec.Cmd, name string) error {
	if name == "" || name == "root" || os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("user %s: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %s: %w", name, err)
	}
	c.Env, c.Dir = append(c.Env, "HOME="+u.HomeDir, "USER="+name, "LOGNAME="+name), "/"
	return setUser(c, u.Uid, u.Gid, groups)
}

// Tail is the last lines of an output.
func Tail(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// Last keeps the end of what is written to it.
type Last struct{ Bytes []byte }

func (l *Last) Write(p []byte) (int, error) {
	l.Bytes = append(l.Bytes, p...)
	if len(l.Bytes) > 2*tailBytes {
		l.Bytes = append(l.Bytes[:0], l.Bytes[len(l.Bytes)-tailBytes:]...)
	}
	return len(p), nil
}
