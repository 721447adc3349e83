package health

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

// withHealth puts checks and programs into a sandbox.
func withHealth(t *testing.T, checks []schema.HealthCheck, programs map[string]string) Host {
	t.Helper()
	s := Host{Root: t.TempDir()}
	b, err := json.Marshal(checks)
	if err != nil {
		t.Fatal(err)
	}
	programs[schema.HealthFile(runtime.GOOS)] = string(b)
	for name, text := range programs {
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func check(within time.Duration, command ...string) []schema.HealthCheck {
	return []schema.HealthCheck{{Plugin: "acme", Command: command, Within: schema.Duration(within)}}
}

func TestNoChecksMeanHealthy(t *testing.T) {
	if err := (Host{Root: t.TempDir()}).Checks(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACheckThatSucceedsLateWithinItsLimitPasses(t *testing.T) {
	s := withHealth(t, check(2*time.Second, "/usr/bin/check"), map[string]string{
		"/usr/bin/check": "#!/bin/sh\ncd \"$BAKEHOUSE_ROOT\" || exit 9\necho x >>tries\ntest $(wc -l <tries) -ge 3\n"})
	if err := s.Checks(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACheckThatNeverSucceedsSaysWhatItPrinted(t *testing.T) {
	s := withHealth(t, check(50*time.Millisecond, "/usr/bin/check", "--deep"), map[string]string{
		"/usr/bin/check": "#!/bin/sh\necho cannot bind port\nexit 1\n"})
	err := s.Checks(t.Context())
	if err == nil {
		t.Fatal("passed")
	}
	for _, want := range []string{"health check of acme", "/usr/bin/check --deep", "50ms"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestACheckThatHangsIsEndedWithItsChildren(t *testing.T) {
	s := withHealth(t, check(100*time.Millisecond, "/usr/bin/check"), map[string]string{
		"/usr/bin/check": "#!/bin/sh\nsleep 1000 &\nsleep 1000\n"})
	began := time.Now()
	if err := s.Checks(t.Context()); err == nil {
		t.Error("passed")
	}
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("took %s: the child that holds the pipe was waited for", d)
	}
}

func TestInASandboxAProgramOfTheRealSystemIsNotRun(t *testing.T) {
	s := withHealth(t, check(time.Minute, "/bin/false"), map[string]string{})
	if err := s.Checks(t.Context()); err != nil {
		t.Errorf("the real system's /bin/false was run: %v", err)
	}
}

func TestChecksEndWithTheUpdater(t *testing.T) {
	s := withHealth(t, check(time.Hour, "/usr/bin/check"), map[string]string{"/usr/bin/check": "#!/bin/sh\nexit 1\n"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := s.Checks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAMalformedHealthFileIsNoHealth(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "x", "no command": `[{"plugin":"a","within":"1s"}]`,
		"relative path": `[{"plugin":"a","command":["sh"],"within":"1s"}]`,
		"no limit":      `[{"plugin":"a","command":["/bin/true"]}]`,
	} {
		if _, err := decodeChecks("health.json", []byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAStoppedServiceIsNotAskedHowItIs(t *testing.T) {
	t.Parallel()
	checks := check(10*time.Millisecond, "/usr/bin/sick")
	checks[0].Units = []string{"a.socket", "a.service"}
	h := withHealth(t, checks, map[string]string{"/usr/bin/sick": "#!/bin/sh\nexit 1\n"})
	for _, c := range []struct {
		stopped map[string][]string
		ill     bool
	}{
		{nil, true},
		{map[string][]string{"a.service": {"disabled"}, "b.service": {"stopped"}}, true},
		{map[string][]string{"a.service": {"disabled", "stopped"}}, false},
	} {
		h.Stopped = c.stopped
		if err := h.Checks(t.Context()); (err != nil) != c.ill {
			t.Errorf("%v: %v", c.stopped, err)
		}
	}
}
