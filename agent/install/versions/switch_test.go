package versions

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/agent/install/machine"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// stage writes a package into a directory of its own.
func stage(t testing.TB, format schema.Format, b []byte) machine.Package {
	t.Helper()
	name := filepath.Join(t.TempDir(), "staged")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return machine.Package{File: name, SHA256: schema.DigestOf(b), Size: int64(len(b)), Name: "acme-agent",
		Version: "1",
		Recipe:  schema.RecipeID(schema.DigestOf(b).Short()), Format: format}
}

// System installs what is staged, as package install does.
type System struct{ *Dir }

func (s *System) Install(ctx context.Context, p machine.Package) (machine.Revert, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = s.Unpack(ctx, &p, func(w io.Writer) error { _, err := io.Copy(w, f); return err })
	if err != nil {
		return nil, err
	}
	revert, err := s.Dir.Install(ctx, p)
	if err != nil {
		return nil, errors.Join(err, s.Discard(p))
	}
	return revert, nil
}

// sandbox is a root with a merged /usr, as Debian has it.
func sandbox(t testing.TB) *System {
	t.Helper()
	root := t.TempDir()
	for _, d := range []string{"usr/lib", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	return &System{&Dir{System: machine.System{Root: root}}}
}

func mustInstall(t testing.TB, s *System, p machine.Package) machine.Revert {
	t.Helper()
	revert, err := s.Install(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return revert
}

// runs returns what the paths of packages lead to: everything that is a link, by content.
func runs(t testing.TB, s *System) map[string]string {
	t.Helper()
	found := map[string]string{}
	for p, what := range installtest.Snapshot(t, s.Root) {
		if strings.HasPrefix(p, "opt/") || !strings.HasPrefix(what, "-> ") || p == "lib" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(s.Root, p))
		if err != nil {
			t.Errorf("%s: %v", p, err)
		}
		found[p] = string(b)
	}
	return found
}

func sameRuns(t testing.TB, s *System, want map[string]string) {
	t.Helper()
	if got := runs(t, s); !maps.Equal(got, want) {
		t.Errorf("the system runs %q, want %q", got, want)
	}
}

var (
	oldFiles = []entry{{name: "./usr/bin/agent", data: "agent 1", mode: 0o755}, {name: "./etc/agent.conf",
		data: "conf 1"},
		{name: "./lib/systemd/agent.service", data: "unit"}, {name: "./usr/share/gone/doc", data: "doc"}}
	newFiles = []entry{{name: "./usr/bin/agent", data: "agent 2", mode: 0o755}, {name: "./etc/agent.conf",
		data: "conf 2"},
		{name: "./lib/systemd/agent.service", data: "unit"}, {name: "./usr/bin/extra", data: "extra", mode: 0o755}}
	oldRuns = map[string]string{"usr/bin/agent": "agent 1", "etc/agent.conf": "conf 1",
		"usr/lib/systemd/agent.service": "unit", "usr/share/gone/doc": "doc"}
	newRuns = map[string]string{"usr/bin/agent": "agent 2", "etc/agent.conf": "conf 2",
		"usr/lib/systemd/agent.service": "unit", "usr/bin/extra": "extra"}
)

func TestAVersionIsInstalledReplacedAndTakenBack(t *testing.T) {
	s := sandbox(t)
	v1, v2 := stage(t, schema.Tgz, archive(t, oldFiles...)), stage(t, schema.Tgz, archive(t, newFiles...))
	first := mustInstall(t, s, v1)
	sameRuns(t, s, oldRuns)
	back := mustInstall(t, s, v2)
	sameRuns(t, s, newRuns)
	if files, err := s.Current(); err != nil || !slices.Contains(files, "/usr/bin/extra") ||
		len(files) != len(newRuns) {
		t.Errorf("current files %q, %v", files, err)
	}
	if err := back(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameRuns(t, s, oldRuns)
	if err := first(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameRuns(t, s, map[string]string{})
}

func TestTheSamePackageAgainRepairsIt(t *testing.T) {
	s := sandbox(t)
	v1 := stage(t, schema.Tgz, archive(t, oldFiles...))
	mustInstall(t, s, v1)
	if err := os.WriteFile(filepath.Join(s.Root, "etc/agent.conf"), []byte("bent"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.Root, "usr/bin/agent")); err != nil {
		t.Fatal(err)
	}
	mustInstall(t, s, v1)
	sameRuns(t, s, oldRuns)
}

func TestASandboxMayBeMovedBecauseItsLinksAreRelative(t *testing.T) {
	s := sandbox(t)
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(s.Root, moved); err != nil {
		t.Fatal(err)
	}
	s.Root = moved
	sameRuns(t, s, oldRuns)
}

func TestAForeignFileIsNeverReplaced(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":          func(p string) error { return os.WriteFile(p, []byte("mine"), 0o644) },
		"a directory":     func(p string) error { return os.Mkdir(p, 0o755) },
		"somebody's link": func(p string) error { return os.Symlink("/bin/true", p) },
	} {
		t.Run(name, func(t *testing.T) {
			s := sandbox(t)
			mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
			if err := put(filepath.Join(s.Root, "usr/bin/extra")); err != nil {
				t.Fatal(err)
			}
			before := installtest.Snapshot(t, s.Root)
			_, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, newFiles...)))
			if err == nil || machine.Touched(err) ||
				!strings.Contains(err.Error(), "usr/bin/extra exists already and was not created by bakehouse-agent") {
				t.Errorf("error %v", err)
			}
			if after := installtest.Snapshot(t, s.Root); !maps.Equal(before, after) {
				t.Errorf("the system changed:\n%q\n%q", before, after)
			}
		})
	}
}

func TestAPackageCannotLieInTheUpdatersOwnDirectories(t *testing.T) {
	for _, name := range []string{"var/lib/bakehouse/state.json", "opt/bakehouse/current",
		"opt/bakehouse/versions/x/y"} {
		s := sandbox(t)
		if _, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, entry{name: name,
			data: "x"}))); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestALinkOutOfTheSandboxIsNotFollowed(t *testing.T) {
	s := sandbox(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(s.Root, "usr/bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, oldFiles...))); err == nil {
		t.Error("installed through a link out of the root")
	}
	if left := installtest.Snapshot(t, outside); len(left) != 1 {
		t.Errorf("outside there is now %q", left)
	}
}

var errInjected = errors.New("injected")

// Each step fails, before or after it took effect: what ran before runs on, and nothing else is left.
func TestAnyStepThatFailsIsTakenBack(t *testing.T) {
	for _, at := range faultPoints(t) {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel() // it waits for the disk
			s := sandbox(t)
			mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
			s.fail = func(step string, done bool) error {
				if at == (faultPoint{step, done}) {
					return errInjected
				}
				return nil
			}
			_, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, newFiles...)))
			if !errors.Is(err, errInjected) || machine.Touched(err) {
				t.Errorf("error %v", err)
			}
			sameRuns(t, s, oldRuns)
			s.fail = nil
			mustInstall(t, s, stage(t, schema.Tgz, archive(t, newFiles...)))
			sameRuns(t, s, newRuns)
		})
	}
}

// The machine dies at each step, before or after it took effect: old or new runs, and whichever package is installed
// next, the system ends as if nothing had happened.
func TestAnyStepThatCrashesConverges(t *testing.T) {
	for _, at := range faultPoints(t) {
		for _, next := range []struct {
			name  string
			files []entry
			runs  map[string]string
		}{{"then new again", newFiles, newRuns}, {"then back to old", oldFiles, oldRuns}} {
			t.Run(at.String()+", "+next.name, func(t *testing.T) {
				t.Parallel()
				s := sandbox(t)
				mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
				s.fail = func(step string, done bool) error {
					if at == (faultPoint{step, done}) {
						panic(errInjected)
					}
					return nil
				}
				func() {
					defer func() {
						if recover() == nil {
							t.Fatal("the fault was not reached")
						}
					}()
					s.Install(t.Context(), stage(t, schema.Tgz, archive(t, newFiles...)))
				}()
				for p, what := range map[string]string{"usr/bin/agent": "agent ", "etc/agent.conf": "conf "} {
					b, err := os.ReadFile(filepath.Join(s.Root, p))
					if err != nil || string(b) != what+"1" && string(b) != what+"2" {
						t.Errorf("after the crash %s is %q, %v", p, b, err)
					}
				}
				s.fail = nil
				mustInstall(t, s, stage(t, schema.Tgz, archive(t, next.files...)))
				sameRuns(t, s, next.runs)
				// One more, and neither versions nor links have piled up.
				mustInstall(t, s, stage(t, schema.Tgz, archive(t, next.files...)))
				sameRuns(t, s, next.runs)
				s.Prune(nil, false)
				versions, err := os.ReadDir(filepath.Join(s.Root, schema.VersionDir, versionsDir))
				if err != nil || len(versions) != 1 {
					t.Errorf("%d versions are left, %v", len(versions), err)
				}
			})
		}
	}
}

type faultPoint struct {
	step string
	done bool
}

func (f faultPoint) String() string {
	if f.done {
		return "after " + f.step
	}
	return "before " + f.step
}

// faultPoints are the steps of a switch, as they are called.
func faultPoints(t *testing.T) []faultPoint {
	t.Helper()
	s := sandbox(t)
	var points []faultPoint
	s.fail = func(step string, done bool) error {
		points = append(points, faultPoint{step, done})
		return nil
	}
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
	if len(points) < 16 {
		t.Fatalf("only %d points", len(points))
	}
	return points
}

func TestAProgramCopiedByHandGivesWayToItsPackage(t *testing.T) {
	s := sandbox(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.Root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The same file as the program that runs, which is what the test's own binary is here.
	if err := os.Link(exe, filepath.Join(s.Root, "usr/bin/agent")); err != nil {
		needs.Missing(t, "no hard link from the test binary to a temporary directory: %v", err)
	}
	revert := mustInstall(t, s, stage(t, schema.Tgz, archive(t, oldFiles...)))
	if b, err := os.ReadFile(filepath.Join(s.Root, "usr/bin/agent")); err != nil || string(b) != "agent 1" {
		t.Errorf("the program is %.20q, %v", b, err)
	}
	if err := revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := os.Stat(filepath.Join(s.Root, "usr/bin/agent"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.Stat(exe); err != nil || !os.SameFile(a, b) {
		t.Error("taking it back did not bring the copied program back")
	}
}
