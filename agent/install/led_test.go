package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/agent/install/walk"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// The user of a service has made a folder of its own a link to /etc before the update: for every format, nothing is
// written to, linked in or removed from /etc.
func TestAServicesFolderThatBecameALinkIsNoWayToRootsFiles(t *testing.T) {
	needs.Root(t, "giving a file away")
	with := func(text string) map[string]string {
		return map[string]string{"/usr/bin/agent": text, "/var/lib/acme/data/passwd": text}
	}
	more := with("agent 2")
	more["/var/lib/acme/data/shadow"] = "owned"
	for name, next := range map[string]map[string]string{
		"a file there is replaced": with("agent 2"),
		"a file there is added":    more,
		"a file there is removed":  {"/usr/bin/agent": "agent 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := On(t.TempDir(), nil)
			mustInstall(t, s, stage(t, schema.Tgz, installtest.Tgz(t, with("agent 1"))))
			data := s.Path("/var/lib/acme/data")
			err := errors.Join(os.Mkdir(s.Path("/etc"), 0o755), os.WriteFile(s.Path("/etc/passwd"), []byte("root"), 0o600),
				os.Rename(data, data+".old"), os.Symlink("../../../etc", data),
				os.Lchown(s.Path("/var/lib/acme"), 12345, 12345), os.Lchown(data, 12345, 12345))
			if err != nil {
				t.Fatal(err)
			}
			before := installtest.Snapshot(t, s.Path("/etc"))
			_, err = s.Install(t.Context(), stage(t, schema.Tgz, installtest.Tgz(t, next)))
			var led *walk.LedError
			if !errors.As(err, &led) || led.Link != data || OfRelease(err) || Touched(err) ||
				!strings.Contains(err.Error(), "user 12345") {
				t.Errorf("the update ended with %v", err)
			}
			after := installtest.Snapshot(t, s.Path("/etc"))
			for p, what := range before {
				if after[p] != what {
					t.Errorf("/etc/%s was %q and is %q", p, what, after[p])
				}
			}
			if b, err := os.ReadFile(s.Path("/usr/bin/agent")); err != nil || string(b) != "agent 1" ||
				len(after) != len(before) {
				t.Errorf("the host runs %q (%v), /etc has %v", b, err, after)
			}
			// Once the link is gone, the same package installs.
			if err := errors.Join(os.Remove(data), os.Rename(data+".old", data)); err != nil {
				t.Fatal(err)
			}
			mustInstall(t, s, stage(t, schema.Tgz, installtest.Tgz(t, next)))
			if b, err := os.ReadFile(filepath.Join(s.Root, "usr/bin/agent")); err != nil || string(b) != "agent 2" {
				t.Errorf("the host runs %q, %v", b, err)
			}
		})
	}
}
