package output

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func (d *decoder) file(name string, n *result.Node) fleet.File {
	f := fleet.File{Path: name, Mode: 0o644, Pos: d.place(n)}
	if err := CheckPath(name, d.p.Name, d.in.Platform.OS); err != nil {
		d.refuse(n, "file %s: %v", result.Quote(name), err)
	}
	if mode := n.Get("mode"); mode != nil {
		bits, err := strconv.ParseUint(mode.Text, 10, 16)
		if err != nil || bits > 0o777 {
			d.refuse(mode, "file %s: mode %s is outside 0o000 to 0o777", name, mode.Text)
		}
		f.Mode = fs.FileMode(bits)
	}
	f.Owner, f.Group = d.owner(n.Get("owner"), name), d.owner(n.Get("group"), name)
	d.rootsOwn(&f, n)
	content, source, program, link := n.Get("content"), n.Get("source"), n.Get("program"), n.Get("link")
	tree, kinds := n.Get("tree"), 0
	for _, part := range []*result.Node{content, source, program, link, tree, n.Get("directory")} {
		if part != nil {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		d.refuse(n, "file %s has not exactly one of content, source, program, directory, link and tree", name)
	case link != nil:
		return d.link(name, n)
	case n.Get("directory") != nil:
		return d.directory(f, n)
	case tree != nil:
		d.tree(&f, tree, n)
	case content != nil:
		f.Content = []byte(content.Text)
		f.SHA256, f.Size = schema.DigestOf(f.Content), int64(len(f.Content))
	case program != nil:
		f.Program, f.SHA256, f.Size = true, d.in.Fleet.Program, -1
	default:
		d.source(&f, source)
	}
	if list := n.Get("capabilities"); list != nil {
		f.Capabilities = d.capabilities(name, list, tree != nil)
	}
	return f
}

// rootsOwn refuses what others than root may change where something that acts as root goes by it.
func (d *decoder) rootsOwn(f *fleet.File, n *result.Node) {
	place := f.Path
	if n.Get("directory") != nil || n.Get("tree") != nil {
		place += "/"
	}
	why, root := fleet.Steers(place)
	if who := f.Others(); root && who != "" {
		d.refuse(n, "%s may change %s, by which root acts: %s", who, f.Path, why)
		d.ps[len(d.ps)-1].Hint = "leave out its owner and group, and let only root write to it (mode: 0o644 or 0o755)"
	}
}

// directory is f as a directory.
func (d *decoder) directory(f fleet.File, n *result.Node) fleet.File {
	if n.Get("mode") == nil {
		f.Mode = 0o755
	}
	if fleet.StandardDir(f.Path) {
		d.refuse(n, "directory %s is one that the system has, with an owner and a mode of the system's", f.Path)
	}
	if list := n.Get("capabilities"); list != nil {
		d.refuse(list, "directory %s: only a file has capabilities", f.Path)
	}
	dir := fleet.Directory(f.Path, f.Mode)
	dir.Owner, dir.Group, dir.Pos = f.Owner, f.Group, f.Pos
	return dir
}

func (d *decoder) link(name string, n *result.Node) fleet.File {
	to := n.Get("link")
	switch {
	case to.Text == "":
		d.refuse(to, "link %s: it has no target", name)
	case control(to.Text) || strings.Contains(to.Text, "\\"):
		d.refuse(to, "link %s: target %s holds control characters or backslashes", name, result.Quote(to.Text))
	case len(to.Text) > 1024:
		d.refuse(to, "link %s: the target is longer than 1024 bytes", name)
	}
	for _, field := range []string{"mode", "owner", "group", "capabilities"} {
		if n.Get(field) != nil {
			d.refuse(n.Get(field), "link %s: a symbolic link has no %s: what it leads to has", name, field)
		}
	}
	f := fleet.SymbolicLink(name, to.Text)
	f.Pos = d.place(n)
	return f
}

// CheckPath accepts what a package may put on a host with that operating system.
func CheckPath(name, plugin, os string) error {
	switch {
	case os == "windows":
		return checkWindowsPath(name, plugin)
	case !path.IsAbs(name) || path.Clean(name) != name || name == "/":
		return fmt.Errorf("the path is not absolute and clean")
	case len(name) > 1024 || !utf8.ValidString(name) || control(name) || strings.Contains(name, "\\"):
		return fmt.Errorf("the path is too long or holds control characters or backslashes")
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 246 { // dpkg and rpm unpack to a name that is 9 longer, and 255 is all
			return fmt.Errorf("a part of the path is longer than 246 bytes")
		}
	}
	for _, dir := range nobodys {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return fmt.Errorf("nothing can be installed in %s", dir)
		}
	}
	for _, place := range hosts {
		if name == place || strings.HasPrefix(name, place+"/") {
			return fmt.Errorf("%s is the host's own: it would go with the package. "+
				"Let a script change what you need, or a file that it includes", place)
		}
	}
	if dir := path.Dir(schema.ConfigFile(os)); plugin != fleet.UpdaterPlugin &&
		(name == dir || strings.HasPrefix(name, dir+"/")) {
		return fmt.Errorf("%s is the updater's alone", dir)
	}
	return nil
}

// nobodys are folders that no package has files in: they are not on disk, are swept, or are the updater's.
var nobodys = []string{schema.StateDir(""), schema.VersionDir, "/proc", "/sys", "/dev", "/run", "/var/run", "/var/lock",
	"/tmp", "/var/tmp", "/lost+found"}

// hosts are places that say who the host and its users are, how it starts, and what is installed. Their content is made
// by the installation and by commands, so that no package owns them and no package manager would keep them from ours.
var hosts = []string{
	"/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/shadow-", "/etc/group", "/etc/group-", "/etc/gshadow",
	"/etc/gshadow-", "/etc/subuid", "/etc/subgid", "/etc/master.passwd", "/etc/pwd.db", "/etc/spwd.db",
	"/etc/machine-id", "/etc/hostname", "/etc/hostid", "/etc/localtime", "/etc/adjtime", "/etc/mtab", "/etc/fstab",
	"/etc/vfstab", "/etc/crypttab", "/etc/ld.so.cache", "/etc/alternatives", "/etc/nsswitch.conf",
	"/usr/bin/dpkg", "/usr/bin/dpkg-deb", "/usr/bin/apt", "/usr/bin/apt-get", "/usr/bin/rpm", "/usr/bin/dnf",
	"/usr/bin/yum", "/usr/bin/zypper", "/usr/sbin/pkgadd", "/usr/sbin/pkgrm",
	"/var/lib/dpkg", "/var/lib/apt", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/lib/dnf", "/var/sadm",
	"/usr/lib/dpkg", "/usr/lib/rpm", "/var/lib/systemd", "/boot/grub", "/boot/grub2", "/boot/loader",
}
