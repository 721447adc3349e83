package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/process"
	"bakehouse/schema"
	"bakehouse/schema/keeps"
	"bakehouse/schema/plain"
)

const (
	maxKeepsFile = 256 << 10
	maxLost      = 10 // names that an error lists
)

// keeps is what the installed package's plugins keep, of which no service was stopped.
func (h Host) keeps() ([]keeps.Keeps, error) {
	b, err := h.read(schema.KeepsFile(runtime.GOOS), maxKeepsFile)
	if err != nil || b == nil {
		return nil, err
	}
	list, err := keeps.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.path(schema.KeepsFile(runtime.GOOS)), err)
	}
	var out []keeps.Keeps
	for _, k := range list {
		if unit := h.stopped(k.Units); unit != "" {
			h.log().Warn("what a plugin prints is not looked at: its service was stopped by an administrator", "plugin",
				k.Plugin, "unit", unit)
			continue
		}
		out = append(out, k)
	}
	return out, nil
}

// Survey lists the names that the installed package's monitoring prints, before an update: of each plugin as often as s
// wants, so that what comes and goes is told from what is always there.
func (h Host) Survey(ctx context.Context, s *cycle.State) []cycle.Seen {
	list, err := h.keeps()
	if err != nil {
		h.log().Warn("what the monitoring prints is not known", "error", err)
	}
	var seen []cycle.Seen
	for _, k := range list {
		for i := range s.RunsWanted(k.Plugin, k.ID()) {
			if i > 0 && pause(ctx, min(time.Second, time.Duration(k.Settle))) != nil {
				return seen
			}
			names, looked, err := h.look(ctx, k)
			if !looked {
				break
			}
			if err != nil {
				h.log().Warn("what a plugin prints is not known, so nothing of it is missed after this update",
					"plugin", k.Plugin, "error", err)
			}
			seen = append(seen, cycle.Seen{Plugin: k.Plugin, Keeps: k.ID(), Names: names, Failed: err != nil})
			if err != nil {
				break
			}
		}
	}
	return seen
}

// Names lists the names that the installed package's monitoring prints after an update. The error says which are lost
// that s has seen before, after the agent had time to come up and another chance or more.
func (h Host) Names(ctx context.Context, s *cycle.State) ([]cycle.Seen, error) {
	list, err := h.keeps()
	if err != nil {
		return nil, err
	}
	var seen []cycle.Seen
	for _, k := range list {
		found, err := h.afterwards(ctx, k, s.Common(k.Plugin, k.ID()))
		seen = append(seen, found...)
		if err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (h Host) afterwards(ctx context.Context, k keeps.Keeps, before []string) ([]cycle.Seen, error) {
	for try := 0; ; try++ {
		if !h.sandboxed() || try > 0 {
			if err := pause(ctx, time.Duration(k.Settle)); err != nil {
				return nil, err
			}
		}
		names, looked, err := h.look(ctx, k)
		if !looked {
			return nil, nil
		}
		seen := []cycle.Seen{{Plugin: k.Plugin, Keeps: k.ID(), Names: names, Failed: err != nil}}
		var lost []string
		switch {
		case err == nil:
			lost = k.Lost(before, names)
		case errors.Is(err, keeps.ErrTooMany): // it prints more, not less
			h.log().Warn("what a plugin prints is not compared", "plugin", k.Plugin, "error", err)
			return seen, nil
		default:
			lost = k.Lost(before, nil)
		}
		if len(lost) == 0 {
			return seen, nil
		}
		h.log().Debug("names are missing", "plugin", k.Plugin, "names", lost, "error", err, "try", try)
		if try >= k.Retries {
			return seen, lostError(k.Plugin, lost, err)
		}
	}
}

func lostError(plugin string, lost []string, err error) error {
	why := ""
	if err != nil {
		why = " (" + err.Error() + ")"
	}
	more := ""
	if n := len(lost) - maxLost; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("the monitoring of plugin %s no longer has %s%s%s, which it had before and no rule announces as "+
		"dropped", plugin, strings.Join(lost[:min(len(lost), maxLost)], ", "), more, why)
}

// look runs what prints the names once; looked is false where that cannot be, in a sandbox.
func (h Host) look(ctx context.Context, k keeps.Keeps) (names []string, looked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(k.Within))
	defer cancel()
	if k.URL != "" {
		if h.sandboxed() {
			return nil, false, nil
		}
		names, err = fetch(ctx, k)
		return names, true, err
	}
	c, err := h.command(ctx, k.Plugin, k.User, k.Command)
	if c == nil {
		return nil, false, nil
	}
	if err == nil {
		names, err = run(ctx, c, k)
	}
	return names, true, plain.Error(err, plain.MaxName)
}

// run reads what c prints. By what status it ends is its own affair, if it prints names.
func run(ctx context.Context, c *exec.Cmd, k keeps.Keeps) ([]string, error) {
	type found struct {
		names []string
		err   error
	}
	output, in := io.Pipe()
	ended := make(chan found, 1)
	go func() {
		names, err := k.In(output)
		output.CloseWithError(err) // it may print without end
		ended <- found{names, err}
	}()
	var stderr process.Last
	c.Stdout, c.Stderr = in, &stderr
	err := c.Run() // even if a daemon that it started keeps the pipe open
	in.Close()
	got := <-ended
	switch {
	case got.err != nil:
		return nil, got.err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%s did not end within %s", k.Command[0], k.Within)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(got.names) == 0 && err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("%s: %w: %s", k.Command[0], err, process.Tail(stderr.Bytes))
	}
	return got.names, nil
}

// fetch reads what an address on this host has.
func fetch(ctx context.Context, k keeps.Keeps) ([]string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}, // no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", k.URL, answer.Status)
	}
	return k.In(io.Reader(answer.Body))
}
