package bake_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

func capable(n int, caps ...string) *rules.Recipe {
	f := own("/usr/bin/it's", 0o755, "program")
	f.Capabilities = caps
	return kinds(n, f)
}

// getcap is what a file's capabilities are, and nothing if it has none.
func getcap(t *testing.T, name string) string {
	t.Helper()
	_, caps, _ := strings.Cut(strings.TrimSpace(run(t, needs.Tool(t, "getcap"), name)), "it's ")
	return caps
}

// Capabilities come with a package, change and go with the next one.
func TestAFileHasItsCapabilities(t *testing.T) {
	needs.Tool(t, "setcap")
	for name, start := range map[string]func(t *testing.T) (root string, update func(*rules.Recipe)){
		"deb": func(t *testing.T) (string, func(*rules.Recipe)) {
			root, dpkg := dpkgRoot(t)
			arch := strings.TrimSpace(run(t, dpkg[0], "--print-architecture"))
			return root, func(r *rules.Recipe) {
				r.Platform.Arch = arch
				st := newMemory()
				f := write(t, "p.deb", assembled(t, st, baked(t, st, repo{}, r, schema.Deb)))
				run(t, append(slices.Clone(dpkg), "--force-depends", "--install", f)...)
			}
		},
		"rpm": func(t *testing.T) (string, func(*rules.Recipe)) {
			r := newRpmRoot(t)
			return r.root, func(recipe *rules.Recipe) {
				r.quiet("--upgrade", "--oldpackage", "--replacepkgs", r.pack(recipe, repo{}))
				r.quiet("--verify", "--nodeps", "bakehouse-agent")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			needs.Root(t, "setting capabilities")
			root, update := start(t)
			for i, c := range []struct {
				caps []string
				want string
			}{{[]string{"cap_net_bind_service", "cap_net_raw"}, "cap_net_bind_service,cap_net_raw=ep"},
				{[]string{"cap_net_raw"}, "cap_net_raw=ep"}, {nil, ""}, {[]string{"cap_net_raw"}, "cap_net_raw=ep"}} {
				update(capable(i+1, c.caps...))
				if got := getcap(t, filepath.Join(root, "usr/bin/it's")); got != c.want {
					t.Errorf("package %d: %q, want %q", i+1, got, c.want)
				}
			}
		})
	}
}

// A tgz has them set in the version's folder, before its files are seen; where there is no setcap, it is not installed.
func TestATgzHasItsCapabilitiesSetByTheUpdater(t *testing.T) {
	needs.Root(t, "setting capabilities")
	needs.Tool(t, "setcap")
	st, dir := newMemory(), t.TempDir()
	var script []byte
	for _, e := range readTar(t, assembled(t, st, baked(t, st, repo{}, capable(1, "cap_net_raw"), schema.Tgz)), true) {
		if e.Name == "."+schema.ScriptsFile("linux") {
			script = e.data
		}
	}
	program := filepath.Join(dir, "usr/bin/it's")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	steps := write(t, "scripts", script)
	run(t, "sh", steps, "owners", dir)
	if got := getcap(t, program); got != "cap_net_raw=ep" {
		t.Errorf("it has %q", got)
	}
	c := exec.Command("/bin/sh", steps, "owners", dir)
	c.Env = []string{"PATH=" + t.TempDir()}
	out, err := c.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no setcap here: install libcap2-bin") {
		t.Errorf("without setcap: %v, %s", err, out)
	}
}

// A package that needs nothing of this says nothing of it.
func TestAPackageSaysThatItNeedsCapabilities(t *testing.T) {
	for _, caps := range [][]string{nil, {"cap_net_raw"}} {
		st := newMemory()
		r := capable(1, caps...)
		deb := readAr(t, assembled(t, st, baked(t, st, repo{}, r, schema.Deb)))
		for _, e := range readTar(t, deb[1].data, false) {
			if e.Name == "./control" && strings.Contains(string(e.data), "Depends: libcap2-bin\n") != (caps != nil) {
				t.Errorf("%q: %s", caps, e.data)
			}
			if e.Name == "./postinst" && strings.Contains(string(e.data), "setcap") != (caps != nil) {
				t.Errorf("%q: %s", caps, e.data)
			}
		}
		rpm := assembled(t, st, baked(t, st, repo{}, r, schema.Rpm))
		if strings.Contains(string(rpm), "rpmlib(FileCaps)") != (caps != nil) {
			t.Errorf("%q: the rpm needs another rpm", caps)
		}
	}
}
