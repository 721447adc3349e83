package install

import (
	"os"
	"path/filepath"
	"testing"

	"bakehouse/schema"
)

// What dpkg says of our own package decides what its failure means.
func TestAFailureOfDpkgIsOfTheReleaseOnlyIfItsOwnScriptFailed(t *testing.T) {
	const own = "dpkg: error processing package bakehouse-agent (--install):\n "
	const after, before = "installed bakehouse-agent package post-installation script subprocess ",
		"new bakehouse-agent package pre-installation script subprocess "
	for name, c := range map[string]struct {
		status, out        string
		touched, ofRelease bool
		ok                 bool
	}{
		"its postinst": {"half-configured 2", own + after + "returned error exit status 1", true, true, false},
		"its preinst":  {"installed 1", own + before + "returned error exit status 3", true, true, false},
		"its preinst, which says that the host is not ready": {"installed 1",
			own + before + "returned error exit status 75", true, false, false},
		"a signal, as at a shutdown": {"half-configured 2",
			own + after + "was killed by signal (Terminated)", true, false, false},
		"another package's file": {"installed 1",
			own + "trying to overwrite '/usr/bin/x', which is also in package y 1", false, false, false},
		"a full disk": {"unpacked 2",
			own + "unable to create '/usr/x.dpkg-new': No space left on device", true, false, false},
		"the trigger of another package": {"installed 2", "Setting up bakehouse-agent (2) ...\nProcessing triggers " +
			"for y\ndpkg: error processing package y (--install):\n installed y package post-installation script " +
			"subprocess returned error exit status 1", false, false, true},
		"a script of another package": {"unpacked 2", "dpkg: error processing package y (--install):\n installed y " +
			"package post-installation script subprocess returned error exit status 1", true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := On(t.TempDir(), nil)
			// dpkg-query that says the status.
			bin := t.TempDir()
			script := "#!/bin/sh\necho '" + c.status + "'\n"
			if err := os.WriteFile(filepath.Join(bin, "dpkg-query"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			err := s.dpkgFailed(t.Context(), Package{Name: "bakehouse-agent", Version: "2", Format: schema.Deb},
				[]byte(c.out), os.ErrInvalid)
			if (err == nil) != c.ok || err != nil && (Touched(err) != c.touched || OfRelease(err) != c.ofRelease) {
				t.Errorf("%v: touched %v, of the release %v", err, Touched(err), OfRelease(err))
			}
		})
	}
}
