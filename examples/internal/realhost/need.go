package realhost

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// Missing ends the test for want of something that the machine lacks: it skips, but fails where everything is
// promised to be there (BAKEHOUSE_TEST_ALL=1).
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BAKEHOUSE_TEST_ALL") != "" {
		t.Fatalf("BAKEHOUSE_TEST_ALL is set, but "+format, args...)
	}
	t.Skipf(format, args...)
}

// Need ends the test by Missing unless it runs as root on Linux and all these programs are installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		Missing(t, "this test boots a Linux host as root, and runs as user %d on %s", os.Geteuid(), runtime.GOOS)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Missing(t, "%v (.ci/run installs it)", err)
		}
	}
}
