package health

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/agent/process"
	"bakehouse/schema"
)

const (
	maxUnits    = 256 << 10 // bytes of schema.UnitsFile
	maxRestarts = 1         // of a service by itself while it is watched: it may have come before what it needs
)

// service is how a service is, by what `systemctl show` says.
type service struct {
	active, sub, result string
	restarts            int
}

// ill is what is wrong with it; empty: nothing.
func (s service) ill() string {
	switch {
	case s.active == "failed":
		return "has failed (" + s.result + ")"
	case s.sub == "auto-restart", s.sub == "auto-restart-queued":
		return "ends again and again (" + s.result + ")"
	}
	return ""
}

// Ailing lists the package's services that do not run as they should.
func (h Host) Ailing(ctx context.Context) (names []string) {
	for name, s := range h.services(ctx) {
		if s.ill() != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Watch looks at the package's services for a while: each must be up at the end, and not have been started again and
// again. Those in before were ill before the update.
func (h Host) Watch(ctx context.Context, long time.Duration, before []string) error {
	if long <= 0 {
		return nil
	}
	first := h.services(ctx)
	if len(first) == 0 {
		return nil
	}
	if err := pause(ctx, long); err != nil {
		return err
	}
	return compare(first, h.services(ctx), before, long)
}

func compare(first, last map[string]service, before []string, long time.Duration) error {
	for name, s := range last {
		why := s.ill()
		if n := s.restarts - first[name].restarts; why == "" && n > maxRestarts {
			why = fmt.Sprintf("was started again %d times within %s", n, long)
		}
		if why != "" && !slices.Contains(before, name) {
			return fmt.Errorf("the service %s %s: see journalctl -u %[1]s", name, why)
		}
	}
	return nil
}

// services are those of the package that systemd starts and no administrator stopped; none where systemd does not run.
func (h Host) services(ctx context.Context) map[string]service {
	if fi, err := os.Stat("/run/systemd/system"); h.sandboxed() || err != nil || !fi.IsDir() {
		return nil
	}
	list, err := h.read(schema.UnitsFile(runtime.GOOS), maxUnits)
	if err != nil {
		return nil
	}
	args := []string{"show", "--property=Id,LoadState,ActiveState,SubState,NRestarts,Result"}
	wanted := len(args)
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "enable" && strings.HasSuffix(f[0], ".service") && !strings.HasPrefix(f[0], "-") &&
			h.stopped(f[:1]) == "" {
			args = append(args, f[0])
		}
	}
	if len(args) == wanted {
		return nil
	}
	out, err := process.New(ctx, nil, "systemctl", args...).Output()
	if err != nil {
		h.log().Debug("systemd does not say how services are", "error", err)
		return nil
	}
	return shown(string(out))
}

// shown reads what `systemctl show` says.
func shown(out string) map[string]service {
	all := map[string]service{}
	for unit := range strings.SplitSeq(out, "\n\n") {
		is := map[string]string{}
		for line := range strings.Lines(unit) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			is[name] = value
		}
		if is["LoadState"] != "loaded" {
			continue
		}
		restarts, _ := strconv.Atoi(is["NRestarts"]) // older ones do not count
		all[is["Id"]] = service{is["ActiveState"], is["SubState"], is["Result"], restarts}
	}
	return all
}
