package versions

import (
	"archive/tar"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/agent/install/machine"
	"bakehouse/schema"
)

// handOld is a package that is unpacked by hand; handNew is the first one that the updater installs.
var (
	handOld = append(slices.Clone(oldFiles[:3]), entry{name: "." + schema.ConfigFile(runtime.GOOS), data: "settings 1"})
	handNew = append(slices.Clone(newFiles), entry{name: "." + schema.ConfigFile(runtime.GOOS), data: "settings 2"})
)

// unpackHere is `tar -xzf` in the root.
func unpackHere(t testing.TB, s *System, entries []entry) {
	t.Helper()
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, e := range entries {
		name := strings.TrimPrefix(filepath.Clean(e.name), "lib/")
		if strings.HasPrefix(e.name, "./lib/") {
			name = filepath.Join("usr/lib", name)
		}
		err := root.MkdirAll(filepath.Dir(name), 0o755)
		if e.kind == tar.TypeSymlink {
			err = errors.Join(err, root.Symlink(e.link, name))
		} else {
			err = errors.Join(err, root.WriteFile(name, []byte(e.data), 0o755))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// paths returns what the host's own paths lead to, whether as files or as links.
func paths(t testing.TB, s *System) map[string]string {
	t.Helper()
	found := map[string]string{}
	for p := range installtest.Snapshot(t, s.Root) {
		fi, err := os.Stat(filepath.Join(s.Root, p)) // a link of a version that is not switched to yet leads nowhere
		if err == nil && fi.Mode().IsRegular() && !strings.HasPrefix(p, "opt/") {
			b, err := os.ReadFile(filepath.Join(s.Root, p))
			if err != nil {
				t.Error(err)
			}
			found[p] = string(b)
		}
	}
	return found
}

var (
	handOldRuns = map[string]string{"usr/bin/agent": "agent 1", "etc/agent.conf": "conf 1",
		"usr/lib/systemd/agent.service": "unit", "etc/bakehouse/agent.json": "settings 1"}
	handNewRuns = map[string]string{"usr/bin/agent": "agent 2", "etc/agent.conf": "conf 2",
		"usr/lib/systemd/agent.service": "unit", "usr/bin/extra": "extra", "etc/bakehouse/agent.json": "settings 2"}
)

func byHandHost(t testing.TB) (*System, map[string]string) {
	t.Helper()
	s := sandbox(t)
	unpackHere(t, s, handOld)
	return s, installtest.Snapshot(t, s.Root)
}

func TestAPackageUnpackedByHandIsTakenOverAndCanBeReturnedTo(t *testing.T) {
	s, _ := byHandHost(t)
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, handNew...)))
	sameRuns(t, s, handNewRuns) // every path is a link now
	if !s.ByHand() {
		t.Fatal("what was unpacked by hand is not kept")
	}
	if err := s.ReturnToByHand(t.Context()); err != nil {
		t.Fatal(err)
	}
	sameRuns(t, s, handOldRuns)
	first := stage(t, schema.Tgz, archive(t, handNew...))
	mustInstall(t, s, first)
	s.Prune(nil, true)
	if !s.ByHand() {
		t.Error("the first update that is accepted does not keep what was unpacked by hand")
	}
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, append(slices.Clone(handNew), entry{name: "./etc/more",
		data: "more"})...)))
	if !s.ByHand() {
		t.Error("what was unpacked by hand is gone before the second update is accepted")
	}
	s.Prune(&first, false)
	if s.ByHand() {
		t.Error("the second update keeps what was unpacked by hand before the first")
	}
}

func TestALinkUnpackedByHandIsTakenOverAsALink(t *testing.T) {
	s := sandbox(t)
	with := func(entries []entry, to string) []entry {
		return append(slices.Clone(entries), entry{name: "./etc/alias", kind: tar.TypeSymlink, link: to})
	}
	leads := func(when, want string) {
		t.Helper()
		if to, err := os.Readlink(filepath.Join(s.Root, "opt/bakehouse/current/etc/alias")); err != nil || to != want {
			t.Errorf("%s: it leads to %q, %v, want %q", when, to, err, want)
		}
	}
	unpackHere(t, s, with(handOld, "/nowhere/1"))
	revert := mustInstall(t, s, stage(t, schema.Tgz, archive(t, with(handNew, "/nowhere/2")...)))
	leads("after the first update", "/nowhere/2")
	if err := s.ReturnToByHand(t.Context()); err != nil {
		t.Fatal(err)
	}
	leads("back at what was unpacked by hand", "/nowhere/1")
	if err := revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(s.Root, "etc/alias")); err != nil || to != "/nowhere/1" {
		t.Errorf("taken back, it leads to %q, %v", to, err)
	}
}

func TestTakingOverAPackageIsTakenBackWhole(t *testing.T) {
	s, before := byHandHost(t)
	revert := mustInstall(t, s, stage(t, schema.Tgz, archive(t, handNew...)))
	if err := revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := installtest.Snapshot(t, s.Root)
	maps.DeleteFunc(after, func(p, _ string) bool { _, was := before[p]; return !was && strings.HasPrefix(p, "opt") })
	if !maps.Equal(before, after) {
		t.Errorf("the host was\n%q\nand is\n%q", before, after)
	}
}

func TestPlainFilesAreForeignUnlessTheSettingsAreAPlainFileToo(t *testing.T) {
	s := sandbox(t)
	unpackHere(t, s, handOld[:1])
	before := installtest.Snapshot(t, s.Root)
	_, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, handNew...)))
	if err == nil || machine.Touched(err) ||
		!strings.Contains(err.Error(), "usr/bin/agent exists already and was not created by bakehouse-agent") {
		t.Errorf("error %v", err)
	}
	after := installtest.Snapshot(t, s.Root)
	maps.DeleteFunc(after, func(p, _ string) bool { return strings.HasPrefix(p, "opt") })
	if !maps.Equal(before, after) {
		t.Errorf("the host was\n%q\nand is\n%q", before, after)
	}
}

func TestAPackageUnpackedByHandOverARunningVersionIsTakenOver(t *testing.T) {
	s := sandbox(t)
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, handOld...)))
	repaired := []entry{{name: "./usr/bin/agent", data: "agent 1b"}, {name: "." + schema.ConfigFile(runtime.GOOS),
		data: "settings 1b"}}
	for _, e := range repaired { // tar removes the link that stands where it unpacks a file
		if err := os.Remove(filepath.Join(s.Root, e.name)); err != nil {
			t.Fatal(err)
		}
	}
	unpackHere(t, s, repaired)
	revert := mustInstall(t, s, stage(t, schema.Tgz, archive(t, handNew...)))
	sameRuns(t, s, handNewRuns)
	if err := revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(handOldRuns)
	want["usr/bin/agent"], want["etc/bakehouse/agent.json"] = "agent 1b", "settings 1b"
	if got := paths(t, s); !maps.Equal(got, want) {
		t.Errorf("taken back, the host has %q, want %q", got, want)
	}
}

func TestAnyStepOfTakingOverThatFailsOrCrashesConverges(t *testing.T) {
	for _, at := range faultPoints(t) {
		for _, crash := range []bool{false, true} {
			name := "fails "
			if crash {
				name = "crashes "
			}
			t.Run(name+at.String(), func(t *testing.T) {
				t.Parallel()
				s, _ := byHandHost(t)
				s.fail = func(step string, done bool) error {
					if at != (faultPoint{step, done}) {
						return nil
					}
					if crash {
						panic(errInjected)
					}
					return errInjected
				}
				var err error
				func() {
					defer func() {
						if r := recover(); r != nil {
							err = errInjected
						}
					}()
					_, err = s.Install(t.Context(), stage(t, schema.Tgz, archive(t, handNew...)))
				}()
				if !errors.Is(err, errInjected) || machine.Touched(err) {
					t.Errorf("error %v", err)
				}
				got := paths(t, s)
				if !maps.Equal(got, handOldRuns) && !maps.Equal(got, handNewRuns) {
					t.Errorf("the host has %q", got)
				}
				if !crash && !maps.Equal(got, handOldRuns) {
					t.Errorf("taken back, the host has %q", got)
				}
				s.fail = nil
				mustInstall(t, s, stage(t, schema.Tgz, archive(t, handNew...)))
				sameRuns(t, s, handNewRuns)
			})
		}
	}
}

// The machine dies after some of the links are made: the rest are still plain files, and known for what they are.
func TestACrashAmongTheLinksOfATakeoverConverges(t *testing.T) {
	s, _ := byHandHost(t)
	s.fail = func(step string, done bool) error {
		if step == "link" && done {
			panic(errInjected)
		}
		return nil
	}
	func() {
		defer func() { _ = recover() }()
		s.Install(t.Context(), stage(t, schema.Tgz, archive(t, handNew...)))
	}()
	s.fail = nil
	// As if the last two links had not been made.
	for _, p := range []string{"usr/bin/agent", "etc/bakehouse/agent.json"} {
		if err := errors.Join(os.Remove(filepath.Join(s.Root, p)),
			os.Link(filepath.Join(s.Root, schema.VersionDir, byHandName, p), filepath.Join(s.Root, p))); err != nil {
			t.Fatal(err)
		}
	}
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, handNew...)))
	sameRuns(t, s, handNewRuns)
	if err := s.ReturnToByHand(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := paths(t, s); !maps.Equal(got, handOldRuns) {
		t.Errorf("the host has %q, want %q", got, handOldRuns)
	}
}
