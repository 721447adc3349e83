package schema

import (
	"cmp"
	"slices"
)

// Paths on a host (under --root in tests and the demo), by its operating system in Go's words. Packages name them with
// slashes, and on Windows without a drive: where these two folders are, the host knows, by FOLDERID_ProgramFiles and
// FOLDERID_ProgramData.
const (
	WindowsPrograms = "/Program Files"
	WindowsData     = "/ProgramData"
)

// VersionDir has versions/ and the link current, for formats without a package manager.
const VersionDir = "/opt/bakehouse"

// ConfigFile is an AgentConfig, baked.
func ConfigFile(os string) string { return settingsDir(os) + "/agent.json" }

// AnchorFile is the fleet's anchor root, baked.
func AnchorFile(os string) string { return settingsDir(os) + "/root.json" }

// HealthFile is a JSON array of HealthCheck, baked.
func HealthFile(os string) string { return settingsDir(os) + "/health.json" }

// KeepsFile is a JSON array of keeps.Keeps, baked if a plugin has any.
func KeepsFile(os string) string { return settingsDir(os) + "/keeps.json" }

func settingsDir(os string) string {
	return cmp.Or(map[string]string{"windows": WindowsData + "/Bakehouse"}[os], "/etc/bakehouse")
}

// IsConfigFile reports whether a path is ConfigFile on some operating system.
func IsConfigFile(path string) bool {
	return slices.Contains([]string{ConfigFile(""), ConfigFile("windows")}, path)
}

// StateDir has registration, trusted metadata, segments and log.
func StateDir(os string) string {
	if os == "windows" {
		return settingsDir(os) + "/state"
	}
	return "/var/lib/bakehouse"
}

// StatusFile is the host's status for all who may look at it: on Unix, a file that is gone after a boot.
func StatusFile(os string) string {
	switch os {
	case "linux":
		return "/run/bakehouse/status.json"
	case "windows":
		return settingsDir(os) + "/status.json"
	}
	return "/var/run/bakehouse/status.json"
}

var prefixes = map[string]string{"darwin": "/usr/local", "windows": WindowsPrograms + "/Bakehouse"}

// Prefix is where packages for an operating system have bin, lib and share: macOS keeps /usr to itself. On Windows it
// is the folder of all that is baked and not a setting.
func Prefix(os string) string { return cmp.Or(prefixes[os], "/usr") }

// ProgramFile is the host program.
func ProgramFile(os string) string {
	if os == "windows" {
		return Prefix(os) + "/bakehouse-agent.exe"
	}
	return Prefix(os) + "/bin/bakehouse-agent"
}

// UnitsFile lists services, a line each, baked: NAME INPUTS enable|disable. NAME is as the system's manager knows it:
// systemd's NAME.service (or .socket, .timer), launchd's label, what SMF has below svc:/site/, the name of a Windows
// service.
func UnitsFile(os string) string {
	if os == "windows" {
		return Prefix(os) + "/units"
	}
	return Prefix(os) + "/lib/bakehouse/units"
}

// ScriptsFile is a shell script, baked where no package manager has a place for it: it is run with a STEP (pretrans,
// users, owners, preinst, postinst, prerm, postrm, posttrans, services or noservices) and the folder of the package's
// files.
func ScriptsFile(os string) string { return Prefix(os) + "/lib/bakehouse/scripts" }
