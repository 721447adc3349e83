//go:build !windows

package detached

import (
	"slices"
	"strings"
	"testing"
)

func TestADetachedUpdateGetsThereAsTheServiceDoes(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example:3128")
	t.Setenv("no_proxy", "a b")
	t.Setenv("ALL_PROXY", "")
	t.Setenv("LD_PRELOAD", "/x")
	got := connecting()
	for _, want := range []string{"--setenv=HTTPS_PROXY=http://proxy.example:3128", "--setenv=no_proxy=a b",
		"--setenv=ALL_PROXY="} {
		if !slices.Contains(got, want) {
			t.Errorf("%q has no %s", got, want)
		}
	}
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "LD_PRELOAD") }) {
		t.Errorf("%q", got)
	}
}

func TestASandboxGetsNoUnitOfTheRealSystem(t *testing.T) {
	if Update(t.TempDir(), "agent.log", "/usr/bin/bakehouse-agent", "update") != nil {
		t.Error("it does")
	}
}
