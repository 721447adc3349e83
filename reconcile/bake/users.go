package bake

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// sysusersFile lists the users for systemd-sysusers, which makes them again on a host whose /etc was emptied.
const sysusersFile = "/usr/lib/sysusers.d/" + fleet.PackageName + ".conf"

//go:embed scripts/users.sh
var usersShell string

// accounts are the system users and groups that the plugins of a package need, by name.
type accounts struct {
	users  []fleet.User
	groups []string
}

func (a *accounts) add(o *fleet.Output) {
	for _, u := range o.Users {
		if !slices.ContainsFunc(a.users, func(have fleet.User) bool { return have.Name == u.Name }) {
			a.users = append(a.users, u)
		}
	}
	slices.SortFunc(a.users, func(x, y fleet.User) int { return cmp.Compare(x.Name, y.Name) })
	a.groups = append(a.groups, o.Groups...)
	slices.Sort(a.groups)
	a.groups = slices.Compact(a.groups)
}

func (a *accounts) none() bool { return len(a.users)+len(a.groups) == 0 }

// each calls back for every group, then every user, then every further group of a user.
func (a *accounts) each(group func(name string), user func(u fleet.User, shell string), member func(user, group string)) {
	for _, g := range a.groups {
		group(g)
	}
	for _, u := range a.users {
		user(u, cmp.Or(u.Shell, "/usr/sbin/nologin"))
	}
	for _, u := range a.users {
		for _, g := range u.Groups {
			member(u.Name, g)
		}
	}
}

// needs is what has to be there on a host, or to be made: each user has a group of its name.
func (a *accounts) needs() (n schema.Needs) {
	n.Groups = slices.Clone(a.groups)
	for _, u := range a.users {
		n.Users = append(n.Users, u.Name)
		n.Groups = append(append(n.Groups, u.Name), u.Groups...)
	}
	slices.Sort(n.Groups)
	n.Groups = slices.Compact(n.Groups)
	return n
}

// sysusers is a's form for systemd-sysusers (sysusers.d(5)). A member's group is made if it is not there.
func (a *accounts) sysusers() string {
	var b strings.Builder
	a.each(func(g string) { fmt.Fprintf(&b, "g %s -\n", g) },
		func(u fleet.User, shell string) {
			fmt.Fprintf(&b, "u %s - \"%s\" %s %s\n", u.Name, u.Description, cmp.Or(u.Home, "/"), shell)
		},
		func(u, g string) { fmt.Fprintf(&b, "m %s %s\n", u, g) })
	return b.String()
}

// shell is shell text that makes the users and groups, before any file of theirs is unpacked; empty if there are none. It
// fails if it cannot. The fields were checked (schema/fleet): nothing in them means anything to a shell. Busybox'
// programs are tried where no distribution's package manager is, which would have brought others.
func (a *accounts) shell(busybox bool) string {
	if a.none() {
		return ""
	}
	var b strings.Builder
	a.each(func(g string) { fmt.Fprintf(&b, "\tgroup %s\n", g) },
		func(u fleet.User, shell string) {
			fmt.Fprintf(&b, "\tuser %s %s %s '%s'\n", u.Name, cmp.Or(u.Home, "/"), shell, u.Description)
		},
		func(u, g string) { fmt.Fprintf(&b, "\tmember %s %s\n", u, g) })
	var text strings.Builder
	for line := range strings.Lines(usersShell) {
		if all, marked := strings.CutSuffix(line, " #busybox\n"); !marked {
			text.WriteString(line)
		} else if busybox {
			text.WriteString(all + "\n")
		}
	}
	return strings.NewReplacer("@SYSUSERS@\n", a.sysusers(), "@COMMANDS@\n", b.String()).Replace(text.String())
}
