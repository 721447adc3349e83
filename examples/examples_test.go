package examples_test

import (
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"bakehouse/examples"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/rules"
	"bakehouse/schema/needs"
)

func each(t *testing.T, test func(t *testing.T, fsys fs.FS)) {
	for _, name := range examples.Names() {
		t.Run(name, func(t *testing.T) {
			fsys, err := examples.FS(name)
			if err != nil {
				t.Fatal(err)
			}
			test(t, fsys)
		})
	}
}

func TestExamplesAreInOrder(t *testing.T) {
	each(t, func(t *testing.T, fsys fs.FS) {
		f, err := evaluate.Load(t.Context(), fsys, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := rules.Resolve(t.Context(), f.Fleet, f)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Warnings) != 0 {
			t.Errorf("warnings: %v", f.Warnings)
		}
		for _, h := range r.Hosts {
			if h.Recipe.Outputs == nil {
				t.Errorf("host %s gets nothing", h.Host.Name)
			}
		}
		// Keys, roots and pinned programs are made by commands.
		if len(f.Keys)+len(f.Roots)+len(f.Programs) != 0 {
			t.Error("it comes with keys, roots or programs")
		}
	})
}

// A repo is evaluated by Bakehouse with its schema, but has to make sense to cue itself too, since editors use it.
func TestPlainCueAcceptsTheExamples(t *testing.T) {
	needs.All(t, "builds the cue command, whose modules may have to be downloaded")
	find := exec.Command("go", "tool", "-n", "cue")
	find.Stderr = os.Stderr
	path, err := find.Output()
	if err != nil {
		t.Fatalf("no cue command: %v", err)
	}
	each(t, func(t *testing.T, fsys fs.FS) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, fsys); err != nil {
			t.Fatal(err)
		}
		run := func(args ...string) (string, error) {
			cmd := exec.Command(strings.TrimSpace(string(path)), args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CUE_REGISTRY=none", "CUE_CACHE_DIR="+t.TempDir())
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		if out, err := run("vet", "./..."); err != nil {
			t.Errorf("cue vet: %v\n%s", err, out)
		}
		if out, err := run("fmt", "--check", "./..."); err != nil {
			t.Errorf("cue fmt: %v\n%s", err, out)
		}
		// It must have looked.
		if err := os.WriteFile(dir+"/hosts/broken.cue", []byte("package hosts\ndefaults: format: 3 & 4\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := run("vet", "./..."); err == nil {
			t.Error("cue vet accepts a conflict")
		}
	})
}

func TestAnExampleThatIsNotThereIsNamed(t *testing.T) {
	for _, name := range []string{"nothing", ".", "../examples", "quickstart/fleet.cue", ""} {
		if _, err := examples.FS(name); err == nil {
			t.Errorf("FS(%q) succeeds", name)
		}
	}
}
