package realhost

import (
	"testing"

	"bakehouse/schema/needs"
)

// Need ends the test unless it may boot a host here.
func Need(t testing.TB) {
	t.Helper()
	needs.All(t, "boots a Debian host")
	needs.Root(t, "booting a host")
	needs.Tools(t, "debootstrap", "systemd-nspawn", "nsenter", "ip", "mount")
}
