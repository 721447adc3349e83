// Package health asks a host whether it is well with the package that was just installed. Only what is found here, on
// the host itself, condemns a package, never a server's answer:
//
//	Program   the updater starts, and can read the settings that it came with
//	Checks    the commands that the package brought along succeed (schema.HealthFile)
//	Watch     the package's services are up, and stay so for a while
//	Names     what the monitoring prints lacks no name that it printed before (schema.KeepsFile)
//
// What was ill before is the host's own condition: services that failed, and monitoring that could not be run, are not
// held against the package that comes.
//
// With Host.Root set, every path is below it: the sandbox of tests and of the demo. There a program is looked up below
// Root (its arguments are passed as they are), and one that is not there is left out: it is one of the real system's,
// such as /bin/sh, and would examine the real system. So are services and addresses.
package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/hostpath"
	"bakehouse/agent/process"
	"bakehouse/schema"
)

// Host is where to look.
type Host struct {
	Root    string              // directory in place of /; empty: the real one
	Log     *slog.Logger        // what programs print, at debug level, and what an administrator should know
	Stopped map[string][]string // by unit: "stopped", "disabled", by an administrator
}

func (h Host) path(p string) string { return hostpath.On(h.Root, p) }

func (h Host) sandboxed() bool { return h.Root != "" && h.path("") != hostpath.On("", "") }

func (h Host) log() *slog.Logger {
	if h.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Log
}

// Program runs an installed program once, which must exit 0 within the limit. A program that is not there passes.
func (h Host) Program(ctx context.Context, within time.Duration, program string, args ...string) error {
	if _, err := os.Stat(h.path(program)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if h.sandboxed() {
		args = append([]string{"--root", h.Root}, args...)
	}
	out, err := process.Run(process.New(ctx, nil, h.path(program), args...), h.Log)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, process.Tail(out))
	}
	return nil
}

// command is a program that a package brought along, as the user whose it is; nil in a sandbox that lacks it.
func (h Host) command(ctx context.Context, plugin, user string, words []string) (*exec.Cmd, error) {
	program := h.path(words[0])
	if _, err := os.Stat(program); h.sandboxed() && errors.Is(err, fs.ErrNotExist) {
		h.log().Debug("left out: the program is not in the sandbox", "plugin", plugin, "program", words[0])
		return nil, nil
	}
	c := process.New(ctx, []string{"BAKEHOUSE_ROOT=" + h.Root}, program, words[1:]...)
	if h.sandboxed() {
		return c, nil
	}
	return c, process.As(c, user)
}

// stopped is a unit of units that an administrator stopped; empty: none is.
func (h Host) stopped(units []string) string {
	i := slices.IndexFunc(units, func(unit string) bool { return slices.Contains(h.Stopped[unit], "stopped") })
	if i < 0 {
		return ""
	}
	return units[i]
}

// read reads a file that the package brought along; nil if there is none.
func (h Host) read(name string, limit int64) ([]byte, error) {
	name = h.path(name)
	fi, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if fi.Size() > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return os.ReadFile(name)
}

// pause waits; it ends early with an error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Checks runs the health checks that the installed package brought along. A check passes when its command exits 0
// once within its limit; until then it is run again, because a service needs a moment to come up. The error names the
// plug-in, the command and the end of what it printed. What an administrator stopped is not asked.
func (h Host) Checks(ctx context.Context) error {
	b, err := h.read(schema.HealthFile(runtime.GOOS), maxHealthFile)
	if err != nil || b == nil {
		return err
	}
	checks, err := decodeChecks(h.path(schema.HealthFile(runtime.GOOS)), b)
	if err != nil {
		return err
	}
	for _, c := range checks {
		if unit := h.stopped(c.Units); unit != "" {
			h.log().Warn("a health check is left out: its service was stopped by an administrator", "plugin", c.Plugin,
				"unit", unit)
			continue
		}
		if err := h.check(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
