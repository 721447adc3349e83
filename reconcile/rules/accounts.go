package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// Accounts that base systems have before anything is installed: those of Debian's base-passwd and of RHEL's setup, and
// what systemd and D-Bus bring along.
var (
	baseUsers = strings.Fields(`root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc
		gnats nobody _apt adm shutdown halt operator ftp dbus messagebus sshd systemd-network
		systemd-resolve systemd-timesync systemd-coredump`)
	baseGroups = strings.Fields(`root daemon bin sys adm tty disk lp mail news uucp man proxy kmem dialout fax voice
		cdrom floppy tape sudo audio dip www-data backup operator list irc src gnats shadow
		utmp video sasl plugdev staff games users nogroup wheel mem lock ftp nobody dbus
		messagebus input render kvm crontab netdev ssh_keys sshd _ssh systemd-journal
		systemd-network systemd-resolve systemd-timesync systemd-coredump`)
)

// strangers warns of users and groups that no plugin of the host makes, nor a base system has: hosts without them
// refuse the package. at is as for conflicts.
func strangers(
	os string, outputs []*fleet.Output, at func(plugin, file string, other fleet.Pos) fleet.Pos,
) (ps fleet.Problems) {
	if os != "linux" { // nothing makes users anywhere else
		return nil
	}
	users, groups := known(outputs)
	for _, o := range outputs {
		wants := func(have map[string]bool, kind, name, what string, pos fleet.Pos) {
			if name != "" && !have[name] {
				ps = append(ps, unmade(have, kind, name, "plugin "+o.Plugin+": "+what, pos))
			}
		}
		for _, f := range o.Files {
			pos := at(o.Plugin, f.Path, f.Pos)
			wants(users, "user", f.Owner, "owner of "+f.Path, pos)
			wants(groups, "group", f.Group, "group of "+f.Path, pos)
		}
		for _, s := range o.Services {
			wants(users, "user", s.User, "service "+s.Name, s.Pos)
			wants(users, "user", s.ListenUser, "who may connect to service "+s.Name, s.Pos)
		}
		for _, i := range o.Intervals {
			wants(users, "user", i.User, "interval "+i.Name, i.Pos)
		}
		for _, u := range o.Users {
			for _, g := range u.Groups {
				wants(groups, "group", g, "user "+u.Name, u.Pos)
			}
		}
	}
	return ps
}

func unmade(have map[string]bool, kind, name, what string, pos fleet.Pos) fleet.Problem {
	p := fleet.Problem{Pos: pos, Hint: fleet.Nearest("did you mean %q?", name, slices.Collect(maps.Keys(have)))}
	p.Msg = fmt.Sprintf("%s: no plugin of the host makes the %s %q, and base systems do not have it: "+
		"hosts that lack it do not install the package", what, kind, name)
	if p.Hint == "" {
		p.Hint = fmt.Sprintf("have the plugin make it: `%ss: %q: …`", kind, name)
	}
	return p
}

// known are the users and groups that a host with these outputs has.
func known(outputs []*fleet.Output) (users, groups map[string]bool) {
	users, groups = accounts(baseUsers), accounts(baseGroups)
	for _, o := range outputs {
		for _, u := range o.Users {
			users[u.Name], groups[u.Name] = true, true
		}
		for _, g := range o.Groups {
			groups[g] = true
		}
	}
	return users, groups
}

func accounts(names []string) map[string]bool {
	all := map[string]bool{}
	for _, name := range names {
		all[name] = true
	}
	return all
}

var privateKey = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----`)

// openKeys warns of private keys, but encrypted ones, in files that everybody can read.
func openKeys(
	outputs []*fleet.Output, at func(plugin, file string, other fleet.Pos) fleet.Pos,
) (ps fleet.Problems) {
	for _, o := range outputs {
		for _, f := range o.Files {
			begins := privateKey.Find(f.Content)
			if begins == nil || f.Mode&0o004 == 0 || strings.Contains(string(begins), " ENCRYPTED ") {
				continue
			}
			ps = append(ps, fleet.Problem{Pos: at(o.Plugin, f.Path, f.Pos),
				Msg: fmt.Sprintf("plugin %s: everybody on the host can read the private key in %s: its mode is %O",
					o.Plugin, f.Path, f.Mode.Perm()),
				Hint: "give the file the mode 0o600, or 0o640 and the group that reads it"})
		}
	}
	return ps
}
