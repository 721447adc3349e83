package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bakehouse/agent/process"
	"bakehouse/schema"
)

const maxHealthFile = 256 << 10

func decodeChecks(name string, b []byte) ([]schema.HealthCheck, error) {
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

func (h Host) check(ctx context.Context, c schema.HealthCheck) error {
	within := time.Duration(c.Within)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	between := min(time.Second, max(within/10, 10*time.Millisecond))
	for {
		command, err := h.command(ctx, c.Plugin, c.User, c.Command)
		if command == nil {
			return nil
		}
		var out []byte
		if err == nil {
			out, err = process.Run(command, h.Log)
		}
		if err == nil {
			return nil
		}
		if pause(ctx, between) == nil {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		said := ""
		if t := process.Tail(out); t != "" {
			said = ": " + t
		}
		return fmt.Errorf("health check of %s: %s did not succeed within %s (%w)%s", c.Plugin,
			strings.Join(c.Command, " "), c.Within, err, said)
	}
}
