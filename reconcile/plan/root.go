package plan

import (
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema/fleet"
)

// steering are the places whose files tell programs that run as root what to do, executable or not.
var steering = map[string]string{
	"/etc/bakehouse/":          "steers the updater, which runs as root",
	"/etc/cron":                "cron reads it",
	"/var/spool/cron/":         "cron reads it",
	"/etc/sudoers":             "sudo reads it",
	"/etc/doas.conf":           "doas reads it",
	"/etc/systemd/":            "systemd reads it",
	"/lib/systemd/":            "systemd reads it",
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
	"/etc/passwd":              "it says who users are",
	"/etc/shadow":              "it says who users are",
	"/etc/group":               "it says who users are",
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

// rootFile says why a file acts as root, or may: nothing tells whether root will run an executable. Empty: it does not.
func rootFile(f *fleet.File, o *fleet.Output) string {
	switch {
	case bits(f.Mode)&0o4000 != 0:
		return "setuid"
	case bits(f.Mode)&0o2000 != 0:
		return "setgid"
	case f.Mode&0o111 != 0:
		return "executable"
	}
	longest, why := "", ""
	for prefix, reads := range steering {
		if strings.HasPrefix(f.Path, prefix) && len(prefix) > len(longest) {
			longest, why = prefix, reads
		}
	}
	if why != "" {
		return why
	}
	for _, s := range o.Services {
		if f.Path == s.EnvironmentFile {
			return "environment of service " + s.Name
		}
		if slices.Contains(strings.Fields(s.Exec), f.Path) {
			return "service " + s.Name + " is started with it"
		}
	}
	for _, i := range o.Intervals {
		if f.Path == i.EnvironmentFile {
			return "environment of interval " + i.Name
		}
		if slices.Contains(strings.Fields(i.Exec), f.Path) {
			return "interval " + i.Name + " is started with it"
		}
	}
	if o.Health != nil && slices.Contains(o.Health.Command, f.Path) {
		return "the health check is started with it"
	}
	return ""
}

// Effective is what of a recipe's content acts as root, in the order of a report; a nil recipe has nothing.
func Effective(r *rules.Recipe) []Item {
	items := compare(nil, contents(r, nil))
	return slices.DeleteFunc(items, func(it Item) bool { return it.Root == "" })
}
