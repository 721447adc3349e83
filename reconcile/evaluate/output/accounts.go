package output

import (
	"cmp"
	"path"
	"regexp"
	"slices"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// account checks the name of a user or group that something is run as or owned by.
func (d *decoder) account(n *result.Node, what string) string {
	if n != nil && n.Text != "" && !userName.MatchString(n.Text) {
		d.refuse(n, "%s: %s is not the name of a user or group", what, result.Quote(n.Text))
	}
	return n.Str()
}

// owner is the user or group of a file, empty for root.
func (d *decoder) owner(n *result.Node, file string) string {
	if name := d.account(n, "file "+file); name != "root" {
		return name
	}
	return ""
}

var (
	userDescription = regexp.MustCompile(`^[A-Za-z0-9 ._()/@+-]{0,100}$`)
	plainPath       = regexp.MustCompile(`^(/[A-Za-z0-9_.+-]+)+$|^/$`)
)

func (d *decoder) user(name string, n *result.Node) fleet.User {
	u := fleet.User{Name: name, Description: n.Get("description").Str(), Home: cmp.Or(n.Get("home").Str(), "/"),
		Shell:  n.Get("shell").Str(),
		Groups: n.Get("groups").Strs(), Pos: n.At()}
	if !userName.MatchString(name) || name == "root" {
		d.refuse(n, "user %s: that is not a system user's name", result.Quote(name))
	}
	if !userDescription.MatchString(u.Description) {
		d.refuse(n.Get("description"), "user %s: description is not up to 100 letters, digits, spaces and ._()/@+-",
			result.Quote(name))
	}
	for _, field := range []string{"home", "shell"} {
		if p := n.Get(field); p != nil && (!plainPath.MatchString(p.Text) || path.Clean(p.Text) != p.Text ||
			len(p.Text) > 255) {
			d.refuse(p, "user %s: %s %s is not an absolute, clean path of plain characters", result.Quote(name), field,
				result.Quote(p.Text))
		}
	}
	u.Groups = d.groups(n.Get("groups"))
	return u
}

func (d *decoder) groups(n *result.Node) []string {
	if n == nil {
		return nil
	}
	for _, g := range n.Parts {
		if !userName.MatchString(g.Text) {
			d.refuse(g, "%s is not a group's name", result.Quote(g.Text))
		}
	}
	out := n.Strs()
	slices.Sort(out)
	return slices.Compact(out)
}
