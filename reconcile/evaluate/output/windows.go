package output

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// windowsPath is the longest path, in bytes: Windows takes 260 characters, and "C:" and " (x86)" come to it.
const windowsPath = 240

var (
	// windowsName is a name that Windows, its Installer and a log take for what it says: no letter that a codepage
	// decides, nothing that somebody replaces, such as "%" and "[".
	windowsName = regexp.MustCompile(`^[A-Za-z0-9 !#$&'()+,\-.=@_~^]+$`)
	// windowsDevice is a name that is a device wherever it is, and with any extension.
	windowsDevice = regexp.MustCompile(`(?i)^(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9]|CONIN\$|CONOUT\$) *(\.|$)`)
)

// checkWindowsPath accepts what a package may put on a host with Windows.
func checkWindowsPath(name, plugin string) error {
	folder, rest, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok || path.Clean(name) != name || "/"+folder != schema.WindowsPrograms && "/"+folder != schema.WindowsData {
		return fmt.Errorf("on Windows, files go below %s/ or %s/, written so", schema.WindowsPrograms,
			schema.WindowsData)
	}
	if len(name) > windowsPath {
		return fmt.Errorf("the path has more than %d characters, which is too long for Windows", windowsPath)
	}
	for part := range strings.SplitSeq(rest, "/") {
		switch {
		case windowsDevice.MatchString(part):
			return fmt.Errorf("the name %s is that of a device of Windows", part)
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") || strings.HasPrefix(part, " "):
			return fmt.Errorf("a dot or blank at the end of a name is dropped by Windows, as of %q", part)
		case !windowsName.MatchString(part):
			return fmt.Errorf("on Windows, names are of ASCII letters, digits, blanks and !#$&'()+,-.=@_~^, "+
				"which %.80q is not", part)
		}
	}
	own := func(dir string) bool { return strings.EqualFold(name, dir) || foldPrefix(name, dir+"/") }
	if data := path.Dir(schema.ConfigFile("windows")); plugin != fleet.UpdaterPlugin && own(data) {
		return fmt.Errorf("%s is the updater's alone", data)
	}
	if own(schema.StateDir("windows")) {
		return fmt.Errorf("nothing can be installed in %s", schema.StateDir("windows"))
	}
	base := schema.Prefix("windows")
	if plugin != fleet.UpdaterPlugin && own(base) && !foldPrefix(name, base+"/plugins/") {
		return fmt.Errorf("%s is the updater's alone, but for what is below %[1]s/plugins/", base)
	}
	return nil
}

func foldPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// windows refuses what a package for Windows has no word for, and paths that are one path there.
func (d *decoder) windows(out *fleet.Output, n *result.Node) {
	const hint = "take it from hosts with Windows by a rule with `when: platform`"
	refuse := func(n *result.Node, format string, args ...any) {
		d.refuse(n, format, args...)
		d.ps[len(d.ps)-1].Hint = hint
	}
	nodes := map[string]*result.Node{}
	for name, v := range n.Get("files").ByName() {
		nodes[name] = v
	}
	first := map[string]string{}
	for _, f := range out.Files {
		at := nodes[f.Path]
		fold := strings.ToLower(f.Path)
		switch other, ok := first[fold]; {
		case ok:
			d.refuse(at, "%s and %s are one path to Windows", other, f.Path)
		case f.Link != "":
			refuse(at, "link %s: a package for Windows has no symbolic links", f.Path)
		case f.Owner+f.Group != "":
			refuse(at,
				"file %s: a package for Windows gives files to nobody: leave out owner and group; those with the "+
					"mode 0o600 are for administrators alone", f.Path)
		case len(f.Capabilities) > 0:
			refuse(at, "file %s: there are no capabilities on Windows", f.Path)
		}
		first[fold] = f.Path
	}
	if len(out.Scripts) > 0 {
		refuse(n.Get("scripts"), "scripts are for a POSIX shell, and a package for Windows runs none")
	}
	if len(out.Users)+len(out.Groups) > 0 {
		refuse(n.Get("users"), "a package for Windows makes no users and groups")
	}
}
