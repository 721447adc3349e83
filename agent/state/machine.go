package state

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"bakehouse/schema/fault"
)

// machineFiles are where a machine's id is, each of which is made once and then stays.
var machineFiles = []string{"/etc/machine-id", "/var/lib/dbus/machine-id"}

// A line of 32 hex digits (machine-id(5)). An image may have "uninitialized" there, or nothing, until its first boot.
var machineID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Machine tells machines apart: copies of a host have the same registration, and other ids. The id itself is
// confidential (machine-id(5)), so this is a digest of it that only Bakehouse makes, as
// sd_id128_get_machine_app_specific does: 16 hex digits, or empty if the machine has no id, as where there is neither
// systemd nor dbus.
func (f Files) Machine() string {
	for _, name := range machineFiles {
		b, err := ReadFile(f.Path(name), 100)
		if id := strings.TrimSpace(string(b)); err == nil && machineID.MatchString(id) && strings.Trim(id, "0") != "" {
			key, _ := hex.DecodeString(id) // 32 hex digits
			h := hmac.New(sha256.New, key)
			h.Write([]byte("bakehouse: which machine uses a registration"))
			return hex.EncodeToString(h.Sum(nil)[:8])
		}
	}
	return ""
}

// Machine is that of the host.
func (h *Host) Machine() string { return h.files.Machine() }

// Elsewhere says that this is another machine than the one that was registered; nil if it is the same, or if that is
// not known. A machine that was restored from a backup is one too: nothing is refused to it.
func (h *Host) Elsewhere() error {
	r, here := h.Registration, h.Machine()
	if r == nil || r.Machine == "" || here == "" || here == r.Machine {
		return nil
	}
	return fault.Hint(fmt.Errorf("this is another machine than the one that was registered as %s, by its machine-id",
		r.Host), "if it is a copy, register it under its own name in the fleet's repository: bakehouse-agent register "+
		"--force --host NAME; if %s itself moved here: bakehouse-agent register --force --host %[1]s", r.Host)
}

// Settle notes the machine of a registration that was made before machines were noted, or before this one had an id.
func (h *Host) Settle() {
	if r := h.Registration; r != nil && r.Machine == "" {
		r.Machine = h.Machine()
	}
}
