package fleet

import "strings"

// steering are the places of which it can be said who reads them. A report words its reason by it: of a place that is
// missing here it is told in general.
var steering = map[string]string{
	"/etc/bakehouse/":          "steers the updater, which runs as root",
	"/etc/cron":                "cron reads it",
	"/var/spool/cron/":         "cron reads it",
	"/etc/sudo":                "sudo reads it",
	"/etc/doas.conf":           "doas reads it",
	"/etc/systemd/":            "systemd reads it",
	"/usr/lib/systemd/":        "systemd reads it",
	"/usr/local/lib/systemd/":  "systemd reads it",
	"/etc/tmpfiles.d/":         "systemd reads it",
	"/etc/sysusers.d/":         "systemd reads it",
	"/usr/lib/tmpfiles.d/":     "systemd reads it",
	"/usr/lib/sysusers.d/":     "systemd reads it",
	"/etc/udev/":               "udev reads it",
	"/usr/lib/udev/":           "udev reads it",
	"/etc/init":                "init reads it",
	"/etc/rc":                  "init reads it",
	"/etc/ld.so":               "the dynamic linker reads it",
	"/etc/pam":                 "PAM reads it",
	"/etc/security/":           "PAM reads it",
	"/etc/ssh/":                "sshd reads it",
	"/root/":                   "it is root's own",
	"/etc/profile":             "root's shells read it",
	"/etc/bash":                "root's shells read it",
	"/etc/apt/":                "the package manager reads it",
	"/etc/dpkg/":               "the package manager reads it",
	"/etc/yum":                 "the package manager reads it",
	"/etc/modprobe.d/":         "the kernel's module loader reads it",
	"/etc/modules-load.d/":     "the kernel's module loader reads it",
	"/etc/sysctl":              "it sets the kernel",
	"/etc/logrotate.d/":        "logrotate runs its scripts as root",
	"/etc/environment":         "every login reads it",
	"/etc/check_mk/":           "the Checkmk agent reads it",
	"/etc/xinetd.d/":           "xinetd reads it",
	"/etc/NetworkManager/":     "it runs scripts as root",
	"/etc/network/":            "it runs scripts as root",
	"/etc/polkit-1/":           "it grants root's powers",
	"/usr/share/polkit-1/":     "it grants root's powers",
	"/etc/dbus-1/system.d/":    "it grants root's powers",
	"/usr/share/dbus-1/system": "it starts services as root",
}

// byChoice are those of them whose reader is root, or another user, as a rule has it.
const byChoice = "/etc/check_mk/"

// Steers says who goes by what lies at a path, empty if that is not known, and whether that acts as root.
func Steers(name string) (why string, root bool) {
	longest := ""
	for prefix, reads := range steering {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
			longest, why = prefix, reads
		}
	}
	return why, longest != "" && longest != byChoice
}

// Others says who else than root may change a file, or put files into a directory; empty: nobody.
func (f *File) Others() string {
	switch {
	case f.Link != "":
		return ""
	case f.Owner != "" && f.Owner != "root":
		return "user " + f.Owner
	case f.Mode&0o002 != 0:
		return "everybody"
	case f.Mode&0o020 != 0 && f.Group != "" && f.Group != "root":
		return "group " + f.Group
	}
	return ""
}
