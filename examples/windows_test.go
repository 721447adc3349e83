package examples_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestTheWindowsFleetNeedsNothingButItsProgramsAndKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("windows")); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "programs", "windows_exporter-windows-amd64.exe")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("MZ"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := evaluate.Load(t.Context(), os.DirFS(dir), nil)
	if err != nil || len(f.Warnings) > 0 {
		t.Fatal(err, f.Warnings)
	}
	r, err := rules.Resolve(t.Context(), f.Fleet, f)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range r.Hosts {
		var plugins []string
		for _, o := range h.Recipe.Outputs {
			plugins = append(plugins, o.Plugin)
			if o.Plugin == fleet.UpdaterPlugin && !slices.ContainsFunc(o.Files, func(f fleet.File) bool {
				return f.Path == schema.ProgramFile("windows")
			}) {
				t.Errorf("%s: the host program is elsewhere", name)
			}
		}
		if slices.Sort(plugins); h.Format != schema.Msi ||
			strings.Join(plugins, " ") != "files updater windows_exporter" {
			t.Errorf("%s: %s of %v", name, h.Format, plugins)
		}
	}
	if len(r.Hosts) != 3 {
		t.Errorf("%d hosts", len(r.Hosts))
	}
}
