package bake_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/schema/needs/debianroot"
)

// system is a Debian of a test's own: what changes in it is in a layer that the test reads.
type system struct {
	t           *testing.T
	lower, work string
}

func newSystem(t *testing.T, suite string) *system {
	t.Helper()
	s := &system{t, debianroot.Root(t, suite), t.TempDir()}
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
