package plan

import (
	"cmp"
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema/fleet"
)

// harmless are the only places where a file that cannot be executed provably steers nothing: what is there is shown to
// people, and no program takes orders from it. Nothing is proved of any other place: udev, modprobe, sudo, Python
// and dozens of other programs that run as root read folders that no list knows whole.
var harmless = []string{
	"/etc/motd", "/etc/motd.d/", "/etc/issue.net", "/usr/share/doc/", "/usr/share/info/", "/usr/share/licenses/",
	"/usr/share/man/", "/usr/local/share/man/",
}

// Unproved is the reason of a file of which nothing shows that root does not act by it.
const Unproved = "a program that runs as root may read it"

// rootFile says why a file of a host with these outputs acts as root, or may: nothing tells whether root will run an
// executable. Empty: it provably does not.
func rootFile(f *fleet.File, outputs []*fleet.Output) string {
	switch {
	case f.Mode.IsDir():
		return rootDirectory(f)
	case f.Link != "":
		return "leads to " + f.Link
	case len(f.Capabilities) > 0:
		return "who executes it has powers of root: " + strings.Join(f.Capabilities, ", ")
	case bits(f.Mode)&0o4000 != 0:
		return "setuid"
	case bits(f.Mode)&0o2000 != 0:
		return "setgid"
	case f.Mode&0o111 != 0:
		return "executable"
	}
	if why := startedWith(f.Path, outputs); why != "" {
		return why
	}
	why, _ := fleet.Steers(f.Path)
	if why == "" && slices.ContainsFunc(harmless, func(place string) bool {
		return f.Path == place || strings.HasSuffix(place, "/") && strings.HasPrefix(f.Path, place)
	}) {
		return ""
	}
	return cmp.Or(why, Unproved)
}

// startedWith names the command of any plugin that is given the file.
func startedWith(path string, outputs []*fleet.Output) string {
	for _, o := range outputs {
		for _, s := range o.Services {
			switch {
			case path == s.EnvironmentFile:
				return "environment of service " + s.Name
			case slices.Contains(strings.Fields(s.Exec), path):
				return "service " + s.Name + " is started with it"
			}
		}
		for _, i := range o.Intervals {
			switch {
			case path == i.EnvironmentFile:
				return "environment of interval " + i.Name
			case slices.Contains(strings.Fields(i.Exec), path):
				return "interval " + i.Name + " is started with it"
			}
		}
		if o.Health != nil && slices.Contains(o.Health.Command, path) {
			return "the health check is started with it"
		}
		if o.Keeps != nil && slices.Contains(o.Keeps.Command, path) {
			return "it prints the names that are kept"
		}
	}
	return ""
}

// weight orders reasons: of what acts as root, of what may, of the rest.
func weight(root string) int {
	switch root {
	case "":
		return 2
	case Unproved:
		return 1
	}
	return 0
}

func (it *Item) weight() int { return weight(it.Root) }

// rootDirectory says what a directory does: nothing, unless others than root can put files where root reads them.
func rootDirectory(f *fleet.File) string {
	if f.Owner == "" && f.Mode&0o022 == 0 {
		return ""
	}
	why, _ := fleet.Steers(f.Path + "/")
	return "others than root can put files there: " + cmp.Or(why, Unproved)
}

// Effective is what of a recipe's content acts as root, in the order of a report and without secrets; a nil recipe has
// nothing.
func Effective(r *rules.Recipe, m fleet.Mask) []Item {
	items := compare(m, nil, contents(r, nil))
	hide(m, items)
	return slices.DeleteFunc(items, func(it Item) bool { return it.Root == "" })
}
