package fleet

import (
	"slices"
	"strings"
)

// StandardDir reports whether a directory is one that every distribution has, as it sees fit.
func StandardDir(p string) bool {
	return p == "/" || slices.Contains(topDirs, p) || slices.Contains(systemDirs, p) || slices.Contains(systemTrees, p)
}

// SystemDir reports whether a directory is one that a distribution has, or that packages share: any at the root, and
// those below. Others are taken for their package's own, which leave with it.
func SystemDir(p string) bool {
	if strings.Count(p, "/") == 1 || slices.Contains(systemDirs, p) {
		return true
	}
	return slices.ContainsFunc(systemTrees, func(t string) bool { return p == t || strings.HasPrefix(p, t+"/") })
}

var topDirs = strings.Fields("/bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /proc /root " +
	"/run /sbin /srv /sys /tmp /usr /var")

// systemTrees belong to the system with all directories in them.
var systemTrees = strings.Fields("/boot /dev /home /proc /run /sys /tmp /usr/local/share/man /var/run /var/lock " +
	"/etc/NetworkManager /etc/X11 /etc/dbus-1 /etc/pki /etc/polkit-1 /etc/security /etc/selinux /etc/skel /etc/ssl " +
	"/etc/systemd /etc/udev /etc/xdg /lib/systemd /lib/udev /usr/lib/systemd /usr/lib/udev " +
	"/usr/share/bash-completion /usr/share/dbus-1 /usr/share/fish /usr/share/fonts /usr/share/icons " +
	"/usr/share/locale /usr/share/man /usr/share/polkit-1 /usr/share/selinux /usr/share/zoneinfo /usr/share/zsh")

// systemDirs belong to the system, but what is in them does not (the Filesystem Hierarchy Standard, and what Fedora's
// and SUSE's package "filesystem" add to it).
var systemDirs = under(map[string]string{
	"/etc": "alternatives apparmor.d audit bash_completion.d binfmt.d cron.d cron.daily cron.hourly cron.monthly " +
		"cron.weekly default depmod.d environment.d init.d ld.so.conf.d logrotate.d modprobe.d modules-load.d " +
		"network opt pam.d profile.d rc.d rsyslog.d ssh sudoers.d sysconfig sysctl.d sysusers.d tmpfiles.d " +
		"xinetd.d yum.repos.d",
	"/lib":       "modules firmware",
	"/usr":       "bin games include lib lib32 lib64 libexec libx32 local sbin share src tmp",
	"/usr/local": "bin etc games include lib lib64 libexec sbin share src",
	"/usr/lib": "binfmt.d debug depmod.d environment.d firmware modprobe.d modules modules-load.d motd.d pam.d " +
		"sysctl.d sysimage sysusers.d tmpfiles.d",
	"/usr/share": "aclocal applications doc games info licenses metainfo mime misc pixmaps sounds themes",
	"/var":       "adm backups cache crash db empty games lib local log mail nis opt preserve spool tmp www yp",
	"/var/lib":   "alternatives games misc",
	"/var/spool": "cron mail",
})

func under(names map[string]string) (dirs []string) {
	for parent, list := range names {
		for _, name := range strings.Fields(list) {
			dirs = append(dirs, parent+"/"+name)
		}
	}
	return dirs
}
