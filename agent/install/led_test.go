package install

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/agent/install/walk"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// The user of a service has made a folder of its own a link to /etc before the update: for every format, nothing is
// written to, linked in or removed from /etc.
func TestAServicesFolderThatBecameALinkIsNoWayToRootsFiles(t *testing.T) {
	needs.Root(t, "giving a file away")
	const inData = "./var/lib/acme/data/passwd"
	with := func(text string) []entry {
		return []entry{{name: "./usr/bin/agent", data: text, mode: 0o755}, {name: inData, data: text}}
	}
	without := []entry{{name: "./usr/bin/agent", data: "agent 2", mode: 0o755}}
	for name, next := range map[string][]entry{
		"a file there is replaced": with("agent 2"),
		"a file there is added":    append(with("agent 2"), entry{name: "./var/lib/acme/data/shadow", data: "owned"}),
		"a file there is removed":  without,
	} {
		t.Run(name, func(t *testing.T) {
			s := sandbox(t)
			mustInstall(t, s, stage(t, schema.Tgz, archive(t, with("agent 1")...)))
			data := s.path("/var/lib/acme/data")
			err := errors.Join(os.WriteFile(s.path("/etc/passwd"), []byte("root"), 0o600),
				os.Rename(data, data+".old"), os.Symlink("../../../etc", data),
				os.Lchown(s.path("/var/lib/acme"), 12345, 12345), os.Lchown(data, 12345, 12345))
			if err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, s.path("/etc"))
			_, err = s.Install(t.Context(), stage(t, schema.Tgz, archive(t, next...)))
			var led *walk.LedError
			if !errors.As(err, &led) || led.Link != data || OfRelease(err) || Touched(err) ||
				!strings.Contains(err.Error(), "user 12345") {
				t.Errorf("the update ended with %v", err)
			}
			after := snapshot(t, s.path("/etc"))
			for p, what := range before {
				if after[p] != what {
					t.Errorf("/etc/%s was %q and is %q", p, what, after[p])
				}
			}
			if b, err := os.ReadFile(s.path("/usr/bin/agent")); err != nil || string(b) != "agent 1" ||
				len(after) != len(before) {
				t.Errorf("the host runs %q (%v), /etc has %v", b, err, after)
			}
			// Once the link is gone, the same package installs.
			if err := errors.Join(os.Remove(data), os.Rename(data+".old", data)); err != nil {
				t.Fatal(err)
			}
			mustInstall(t, s, stage(t, schema.Tgz, archive(t, next...)))
			if b, err := os.ReadFile(filepath.Join(s.Root, "usr/bin/agent")); err != nil || string(b) != "agent 2" {
				t.Errorf("the host runs %q, %v", b, err)
			}
		})
	}
}
