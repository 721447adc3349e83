package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/needs"
)

// What is measured is measured at all; figures are for a machine that does nothing else.
func TestASmallLoadFillsTheTable(t *testing.T) {
	needs.All(t, "builds the program and starts nginx")
	if _, err := os.Stat("/usr/sbin/nginx"); err != nil {
		needs.Tool(t, "nginx")
	}
	t.Setenv("TMPDIR", t.TempDir())
	o := options{hosts: 60, bins: 16, each: 200 * time.Millisecond, clients: 4, segment: 100_000}
	got, err := measure(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"polls over kept connections", "new connection", "bytes of segments", "p99",
		"the overview", "pages of hosts", "memory at rest", "being served", "first host served", "without news"} {
		if !strings.Contains(got.String(), what) {
			t.Errorf("the table says nothing of %s", what)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "load-*")); len(left) > 0 {
		t.Errorf("it left %v", left)
	}
	t.Log("\n" + got.String())
}
