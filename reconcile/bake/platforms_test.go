package bake_test

import (
	"bytes"
	"strings"
	"testing"

	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/program"
)

func TestEveryFormatOfAPlatformIsBakedForItWithTheUnitsOfWhatStartsServicesThere(t *testing.T) {
	for _, p := range program.Known {
		if p.OS == "windows" { // the tables of a package say it: TestAPackageForWindows…
			continue
		}
		for _, format := range p.Formats() {
			src := repo{}
			r := example(src, someID, ":9100")
			r.Platform = p
			st := newMemory()
			pkg := assembled(t, st, baked(t, st, src, r, format))
			files, err := contents.List(format, bytes.NewReader(pkg))
			if err != nil {
				t.Fatal(err)
			}
			units := map[string]bool{}
			for _, f := range files {
				for _, of := range []string{"/systemd/system/", "/lib/bakehouse/launchd/", "/svc/manifest/"} {
					if strings.Contains(f.Path, of) && !f.Mode.IsDir() {
						units[of] = true
					}
				}
				if own := "/usr/bin/bakehouse-agent"; p.OS == "darwin" && strings.Contains(f.Path, "bakehouse") && f.Path != own && // own is the recipe's
					strings.HasPrefix(f.Path, "/usr/") && !strings.HasPrefix(f.Path, "/usr/local/") {
					t.Errorf("%s as %s has %s, where macOS lets nobody write", p, format, f.Path)
				}
				if f.Path == "/etc/" && p.OS == "darwin" {
					t.Error("there is a folder /etc, which is a link on macOS")
				}
			}
			want := map[string]string{"linux": "/systemd/system/", "darwin": "/lib/bakehouse/launchd/", "solaris": "/svc/manifest/"}[p.OS]
			if len(units) > 1 || want != "" && !units[want] || want == "" && len(units) > 0 {
				t.Errorf("%s as %s: units of %v", p, format, units)
			}
		}
	}
}
