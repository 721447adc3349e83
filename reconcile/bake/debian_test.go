package bake_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// debian is the root of a release, minimal as debootstrap makes it; it is built once per machine (a minute, 250 MB) and
// never written to after that.
func debian(t *testing.T, suite string) string {
	t.Helper()
	needs.All(t, "installs in Debian roots")
	bootstrap, overlay := needs.Tool(t, "debootstrap"), needs.Tool(t, "unshare")
	needs.Root(t, "entering a root")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "bakehouse-test", "plain-"+suite)
	if err := os.MkdirAll(filepath.Dir(root), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(root+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) // ends with the process at the latest
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := os.Stat(root); err == nil {
		return root
	}
	partial := root + ".partial" // of a builder that is dead, since the lock is ours
	if err := os.RemoveAll(partial); err != nil {
		t.Fatal(err)
	}
	// Namespaces of its own, so that what debootstrap mounts goes with it.
	out, err := exec.Command(overlay, "--mount", "--pid", "--fork", "sh", "-c", `mount -t proc proc /proc && exec "$@"`, "sh",
		bootstrap, "--variant=minbase", suite, partial, mirror(t)).CombinedOutput()
	if err != nil {
		needs.Missing(t, "debootstrap %s: %v\n%s", suite, err, out[max(0, len(out)-2000):])
	}
	if err := os.Rename(partial, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// mirror is where this machine's own packages come from.
func mirror(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(run(t, needs.Tool(t, "apt-get"), "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "main" && !strings.Contains(f[0], "-") && strings.HasPrefix(f[2], "http") {
			return f[2]
		}
	}
	needs.Missing(t, "apt knows no mirror")
	return ""
}

// system is a Debian of a test's own: what changes in it is in a layer that the test reads.
type system struct {
	t           *testing.T
	lower, work string
}

func newSystem(t *testing.T, suite string) *system {
	t.Helper()
	s := &system{t, debian(t, suite), t.TempDir()}
	for _, d := range []string{"changed", "scratch", "root"} {
		if err := os.Mkdir(filepath.Join(s.work, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run runs a script in the system, in which pkg is /package.deb.
func (s *system) run(pkg []byte, script string) string {
	s.t.Helper()
	f := write(s.t, "package.deb", pkg)
	return run(s.t, "unshare", "--mount", "--pid", "--fork", "sh", "-e", "-c", `
		mount -t overlay -o "lowerdir=$1,upperdir=$2/changed,workdir=$2/scratch" overlay "$2/root"
		mount -t proc proc "$2/root/proc"
		cp "$3" "$2/root/package.deb"
		exec chroot "$2/root" sh -e -c "$4"`, "sh", s.lower, s.work, f, script)
}

// changed is the path of a file that a script made or changed.
func (s *system) changed(path string) string { return filepath.Join(s.work, "changed", path) }

func TestDebianInstallsEveryFileWithItsModeAndContent(t *testing.T) {
	for _, suite := range []string{"bookworm", "bullseye"} {
		t.Run(suite, func(t *testing.T) {
			s := newSystem(t, suite)
			arch := strings.TrimSpace(run(t, needs.Tool(t, "dpkg"), "--print-architecture"))
			t.Logf("%s has %s", suite, strings.SplitN(s.run(nil, "dpkg --version"), "\n", 2)[0])
			st, src := newMemory(), repo{}
			bakeFor := func(r *rules.Recipe) []byte {
				r.Platform.Arch = map[string]string{"amd64": "amd64", "arm64": "arm64"}[arch]
				if r.Platform.Arch == "" {
					needs.Missing(t, "there is no host program for %s", arch)
				}
				return assembled(t, st, baked(t, st, src, r, schema.Deb))
			}
			first := example(src, someID, ":9100")
			first.Outputs[0].Users = []fleet.User{{Name: "exporter", Home: "/nonexistent"}}
			first.Outputs[0].Files = append(first.Outputs[0].Files, own("/var/lib/exporter/state", 0o600, "state"))
			first.Outputs[0].Files[3].Owner, first.Outputs[0].Files[3].Group = "exporter", "exporter"
			pkg := bakeFor(first)
			out := s.run(pkg, `
				dpkg --install /package.deb >&2
				dpkg --verify bakehouse-agent
				dpkg-query --show --showformat '${Status} ${Version}\n' bakehouse-agent
				stat --format '%U:%G' /var/lib/exporter/state
				dpkg --listfiles bakehouse-agent | while read -r f; do [ -e "$f" ] || echo "$f is missing"; done
				[ -z "$(dpkg-query --show --showformat '${Conffiles}' bakehouse-agent)" ]`)
			if want := "install ok installed 0.1.0+" + someID + "\nexporter:exporter\n"; out != want {
				t.Errorf("%q, want %q", out, want)
			}
			s.has(dataOf(t, pkg, schema.Deb))

			// What is gone from the repo is gone from the host, and nobody is asked about what was edited there.
			second := example(src, "0000000000000000", ":9200")
			second.Outputs = second.Outputs[1:]
			pkg = bakeFor(second)
			s.run(pkg, `
				echo edited >>/etc/bakehouse/agent.json
				dpkg --install /package.deb </dev/null >&2
				[ -z "$(dpkg --verify bakehouse-agent)" ]
				[ ! -e /etc/default/node_exporter ]
				[ ! -e /usr/bin/node_exporter ]`)
			s.has(dataOf(t, pkg, schema.Deb))

			// And back, which is a lower version for dpkg or a higher one; then it leaves nothing.
			s.run(bakeFor(first), `
				dpkg --install /package.deb >&2
				[ -e /usr/bin/node_exporter ]
				dpkg --purge bakehouse-agent >&2
				[ -z "$(find /etc/bakehouse /usr/lib/bakehouse /usr/share/doc/bakehouse-agent /var/lib/bakehouse /usr/bin/*exporter 2>/dev/null)" ]`)
		})
	}
}

// has checks that all files of an archive are in the system.
func (s *system) has(entries []entry) {
	s.t.Helper()
	n := 0
	for _, e := range entries {
		if !e.FileInfo().Mode().IsRegular() {
			continue
		}
		n++
		p := s.changed(e.Name)
		got, err := os.ReadFile(p)
		if err != nil || !bytes.Equal(got, e.data) {
			s.t.Errorf("%s: %d of %d bytes, %v", e.Name, len(got), len(e.data), err)
			continue
		}
		if info, err := os.Stat(p); err != nil || info.Mode() != fs.FileMode(e.Mode) {
			s.t.Errorf("%s: mode %v, want %v", e.Name, info.Mode(), fs.FileMode(e.Mode))
		}
	}
	if n == 0 {
		s.t.Error("there is no file to look at")
	}
}
