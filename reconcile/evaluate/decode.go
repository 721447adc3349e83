package evaluate

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// program checks what services and intervals have in common: what is run, as whom, with which environment.
func (d *decoder) program(n *node, what, name string) {
	if err := schema.CheckName(name); err != nil || strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".timer") || strings.HasSuffix(name, ".socket") {
		d.refuse(n, "%s %s: the name is not letters, digits, '.', '-' and '_', or ends in .service, .timer or .socket", what, quote(name))
	}
	for _, field := range []string{"description", "exec", "environmentFile"} {
		if control(n.get(field).str()) {
			d.refuse(n.get(field), "%s %s: %s holds control characters", what, name, field)
		}
	}
	if !strings.HasPrefix(n.get("exec").str(), "/") {
		d.refuse(n.get("exec"), "%s %s: exec does not start with an absolute path", what, name)
	}
	if e := n.get("environmentFile").str(); e != "" && (!path.IsAbs(e) || path.Clean(e) != e) {
		d.refuse(n.get("environmentFile"), "%s %s: environmentFile is not absolute and clean", what, name)
	}
	d.account(n.get("user"), what+" "+name)
}

// account checks the name of a user or group that something is run as or owned by.
func (d *decoder) account(n *node, what string) string {
	if n != nil && n.text != "" && !userName.MatchString(n.text) {
		d.refuse(n, "%s: %s is not the name of a user or group", what, quote(n.text))
	}
	return n.str()
}

// owner is the user or group of a file, empty for root.
func (d *decoder) owner(n *node, file string) string {
	if name := d.account(n, "file "+file); name != "root" {
		return name
	}
	return ""
}

func (d *decoder) listen(service string, n *node) (out []string) {
	if n == nil {
		return nil
	}
	for _, item := range n.fields {
		port := item.text
		if at, err := netip.ParseAddrPort(item.text); err == nil {
			port = strconv.Itoa(int(at.Port()))
			if at.Addr().Zone() != "" {
				port = ""
			}
		}
		number, err := strconv.ParseUint(port, 10, 16)
		unix := path.IsAbs(item.text) && path.Clean(item.text) == item.text && len(item.text) < 108 && !control(item.text) && !strings.ContainsAny(item.text, "% ")
		if (err != nil || number == 0 || port != strconv.FormatUint(number, 10)) && !unix {
			d.refuse(item, "service %s: %s is not a port, ADDRESS:PORT or the path of a Unix socket", service, quote(item.text))
		}
		out = append(out, item.text)
	}
	return out
}

// allow reads addresses and networks, in the form in which equal ones are equal.
func (d *decoder) allow(service string, n *node) (out []string) {
	if n == nil {
		return nil
	}
	for _, item := range n.fields {
		p, err := netip.ParsePrefix(item.text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(item.text); err == nil && a.Zone() == "" {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if !p.IsValid() {
			d.refuse(item, "service %s: %s is neither an address nor a network such as 10.0.0.0/8", service, quote(item.text))
			continue
		}
		out = append(out, p.Masked().String())
	}
	if len(out) == 0 && len(n.fields) == 0 {
		d.refuse(n, "service %s: allow is empty, so nobody could connect", service)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// directories reads the names of a service's own folders. Those of the updater are nobody else's.
func (d *decoder) directories(service string, n *node) (out fleet.Directories) {
	own := n.get("directories")
	for field, to := range map[string]*string{"run": &out.Run, "state": &out.State, "cache": &out.Cache, "logs": &out.Logs} {
		name := own.get(field)
		if name == nil {
			continue
		}
		if *to = name.text; schema.CheckName(name.text) != nil || name.text == path.Base(schema.StateDir) {
			d.refuse(name, "service %s: %s is not the name of a folder of its own", service, quote(name.text))
		}
		if n.get("listen") != nil {
			d.refuse(name, "service %s: what is started for each connection has no directories", service)
		}
	}
	return out
}

// seconds reads a duration of whole seconds.
func (d *decoder) seconds(n *node, what string) schema.Duration {
	if n == nil {
		return 0
	}
	got, err := schema.ParseDuration(n.text)
	if t := time.Duration(got); err != nil || t < time.Second || t%time.Second != 0 || t > 366*24*time.Hour {
		d.refuse(n, "%s %s is not whole seconds, from 1s to 366d", what, quote(n.text))
	}
	return got
}

// cached is what an interval's output may be: a file below a folder that systemd makes for the unit.
var cached = regexp.MustCompile(`^/var/cache(/[A-Za-z0-9_][A-Za-z0-9_.-]*){2,8}$`)

func (d *decoder) interval(name string, n *node) fleet.Interval {
	i := fleet.Interval{Name: name, Description: cmp.Or(n.get("description").str(), name), Exec: n.get("exec").str(), User: n.get("user").str(),
		EnvironmentFile: n.get("environmentFile").str(), Every: d.seconds(n.get("every"), "interval "+name+": every"),
		Timeout: d.seconds(n.get("timeout"), "interval "+name+": timeout"), Output: n.get("output").str(), Enable: true, Pos: n.at()}
	if e := n.get("enable"); e != nil {
		i.Enable = e.is()
	}
	d.program(n, "interval", name)
	if i.Output != "" && (!cached.MatchString(i.Output) || len(i.Output) > 1024) {
		d.refuse(n.get("output"), "interval %s: output %s is not a file below a folder of /var/cache, of letters, digits, '.', '-' and '_'", name, quote(i.Output))
	}
	return i
}

var (
	userDescription = regexp.MustCompile(`^[A-Za-z0-9 ._()/@+-]{0,100}$`)
	plainPath       = regexp.MustCompile(`^(/[A-Za-z0-9_.+-]+)+$|^/$`)
)

func (d *decoder) user(name string, n *node) fleet.User {
	u := fleet.User{Name: name, Description: n.get("description").str(), Home: cmp.Or(n.get("home").str(), "/"), Shell: n.get("shell").str(),
		Groups: n.get("groups").strs(), Pos: n.at()}
	if !userName.MatchString(name) || name == "root" {
		d.refuse(n, "user %s: that is not a system user's name", quote(name))
	}
	if !userDescription.MatchString(u.Description) {
		d.refuse(n.get("description"), "user %s: description is not up to 100 letters, digits, spaces and ._()/@+-", quote(name))
	}
	for _, field := range []string{"home", "shell"} {
		if p := n.get(field); p != nil && (!plainPath.MatchString(p.text) || path.Clean(p.text) != p.text || len(p.text) > 255) {
			d.refuse(p, "user %s: %s %s is not an absolute, clean path of plain characters", quote(name), field, quote(p.text))
		}
	}
	u.Groups = d.groups(n.get("groups"))
	return u
}

func (d *decoder) groups(n *node) []string {
	if n == nil {
		return nil
	}
	for _, g := range n.fields {
		if !userName.MatchString(g.text) {
			d.refuse(g, "%s is not a group's name", quote(g.text))
		}
	}
	out := n.strs()
	slices.Sort(out)
	return slices.Compact(out)
}

func (d *decoder) relations(n *node) fleet.Relations {
	return fleet.Relations{All: d.relationSet(n, ""), Deb: d.relationSet(n.get("deb"), "deb"), RPM: d.relationSet(n.get("rpm"), "rpm")}
}

func (d *decoder) relationSet(n *node, format schema.Format) fleet.RelationSet {
	read := func(kind string) (out []fleet.Relation) {
		list := n.get(kind)
		if list == nil {
			return nil
		}
		for _, item := range list.fields {
			r, err := parseRelation(item.text, format, kind)
			if err != nil {
				d.refuse(item, "relations: %s %s: %v", kind, quote(item.text), err)
			}
			out = append(out, r)
		}
		return out
	}
	return fleet.RelationSet{}.Join(fleet.RelationSet{Depends: read("depends"), Conflicts: read("conflicts"),
		Replaces: read("replaces"), Provides: read("provides")})
}

// scripts are texts for a shell, so line breaks and tabs are in order. What a terminal would obey or sh would choke on is not.
func (d *decoder) scripts(n *node) map[string]string {
	out := map[string]string{}
	for step, text := range n.pairs() {
		lines := strings.NewReplacer("\n", "", "\t", "").Replace(text.text)
		if control(lines) || len(text.text) > math.MaxUint16 {
			d.refuse(text, "script %s: it holds control characters, or more than 64 KiB", step)
		}
		// sh would find it out on the host, half-way through an installation.
		if _, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text.text), step); err != nil {
			d.refuse(text, "script %v", err)
		}
		if strings.TrimSpace(text.text) != "" {
			out[step] = text.text
		}
	}
	return out
}

// twice refuses names that a service and an interval both have: their units would be one.
func (d *decoder) twice(out *fleet.Output) {
	for _, i := range out.Intervals {
		if slices.ContainsFunc(out.Services, func(s fleet.Service) bool { return s.Name == i.Name }) {
			d.ps = append(d.ps, fleet.Problem{Pos: i.Pos, Msg: fmt.Sprintf("plugin %s: %s is both a service and an interval", d.p.Name, i.Name)})
		}
	}
}
