package units

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"bakehouse/agent/install/machine"
	"bakehouse/schema"
)

func TestWhatStartsAtBootLeadsIntoNoVersion(t *testing.T) {
	s := &machine.System{Root: t.TempDir()}
	admin := filepath.Join(s.Root, adminUnits)
	links := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		if err := filepath.WalkDir(admin, func(path string, d fs.DirEntry, err error) error {
			if to, e := os.Readlink(path); e == nil {
				out[path[len(admin):]] = to
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	// What `systemctl enable` made of a link to the version in use, and a unit of the administrator's own.
	old := filepath.Join(s.Root, schema.VersionDir, "versions/old/usr/lib/systemd/system")
	if err := os.MkdirAll(filepath.Join(admin, "timers.target.wants"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"a.timer": old + "/a.timer",
		"timers.target.wants/a.timer": old + "/a.timer", "b.service": "/srv/b.service"} {
		if err := os.Symlink(to, filepath.Join(admin, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range []unit{{name: "a.timer", state: "enable"}, {name: "b.service", state: "enable"},
		{name: "c.socket", state: "enable"}, {name: "d.service", state: "disable"}} {
		setWanted(s, u)
		setWanted(s, u)
	}
	want := map[string]string{"/timers.target.wants/a.timer": packageUnits + "/a.timer", "/b.service": "/srv/b.service",
		"/multi-user.target.wants/b.service": packageUnits + "/b.service",
		"/sockets.target.wants/c.socket":     packageUnits + "/c.socket"}
	if got := links(); !maps.Equal(got, want) {
		t.Errorf("links %v, want %v", got, want)
	}
	setWanted(s, unit{name: "c.socket", state: "disable"})
	delete(want, "/sockets.target.wants/c.socket")
	if got := links(); !maps.Equal(got, want) {
		t.Errorf("links %v, want %v", got, want)
	}
}
