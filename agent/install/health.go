package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

const maxHealthFile = 256 << 10

// CheckHealth runs the health checks that the installed package brought along. A check passes when its command exits 0
// once within its limit; until then it is run again, because a service needs a moment to come up. The error names the
// plug-in, the command and the end of what it printed. What an administrator stopped is not asked.
//
// In a sandbox the program is looked up below Root (its arguments are passed as they are), and a check whose program is
// not there is skipped: it is one of the real system's, such as /bin/sh, and would examine the real system.
func (s *System) CheckHealth(ctx context.Context) error {
	checks, err := s.readHealth()
	if err != nil {
		return err
	}
	is := s.stopped()
	for _, c := range checks {
		stopped := func(unit string) bool { return slices.Contains(is[unit], "stopped") }
		if i := slices.IndexFunc(c.Units, stopped); i >= 0 {
			s.warn("a health check is left out: its service was stopped by an administrator", "plugin", c.Plugin,
				"unit", c.Units[i])
			continue
		}
		if err := s.check(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// CheckProgram runs an installed program once, which must exit 0 within the limit. A program that is not there passes.
func (s *System) CheckProgram(ctx context.Context, within time.Duration, program string, args ...string) error {
	if _, err := os.Stat(s.path(program)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if s.sandboxed() {
		args = append([]string{"--root", s.Root}, args...)
	}
	out, err := s.command(ctx, nil, s.path(program), args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, tail(out))
	}
	return nil
}

func (s *System) readHealth() ([]schema.HealthCheck, error) {
	name := s.path(schema.HealthFile)
	fi, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxHealthFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxHealthFile)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return decodeHealth(name, b)
}

func decodeHealth(name string, b []byte) ([]schema.HealthCheck, error) {
	var checks []schema.HealthCheck
	if err := schema.Decode(b, &checks); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, c := range checks {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("%s: the check of %.80q: %w", name, c.Plugin, err)
		}
	}
	return checks, nil
}

func (s *System) check(ctx context.Context, c schema.HealthCheck) error {
	program := s.path(c.Command[0])
	if _, err := os.Stat(program); s.sandboxed() && errors.Is(err, fs.ErrNotExist) {
		s.debug("health check skipped: its program is not in the sandbox", "plugin", c.Plugin, "program", c.Command[0])
		return nil
	}
	within := time.Duration(c.Within)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	pause := time.NewTicker(min(time.Second, max(within/10, 10*time.Millisecond)))
	defer pause.Stop()
	for {
		out, err := s.command(ctx, []string{"BAKEHOUSE_ROOT=" + s.Root}, program, c.Command[1:]...)
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
			continue
		case <-ctx.Done():
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		said := ""
		if t := tail(out); t != "" {
			said = ": " + t
		}
		return fmt.Errorf("health check of %s: %s did not succeed within %s (%w)%s", c.Plugin,
			strings.Join(c.Command, " "), c.Within, err, said)
	}
}
