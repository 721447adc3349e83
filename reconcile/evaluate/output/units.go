package output

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// program checks what services and intervals have in common: what is run, as whom, with which environment.
func (d *decoder) program(n *result.Node, what, name string) {
	if err := schema.CheckName(name); err != nil || strings.HasSuffix(name, ".service") ||
		strings.HasSuffix(name, ".timer") || strings.HasSuffix(name, ".socket") {
		d.refuse(n, "%s %s: the name is not letters, digits, '.', '-' and '_', or ends in .service, .timer or .socket", what,
			result.Quote(name))
	}
	for _, field := range []string{"description", "exec", "environmentFile"} {
		if control(n.Get(field).Str()) {
			d.refuse(n.Get(field), "%s %s: %s holds control characters", what, name, field)
		}
	}
	words, err := commandLine(n.Get("exec").Str(), d.in.Platform.OS == "windows")
	if err != nil {
		d.refuse(n.Get("exec"), "%s %s: %v", what, name, err)
	} else {
		d.runs = append(d.runs, runs{what + " " + name, words[0].text, n.Get("user").Str(), n.Get("exec")})
	}
	if e := n.Get("environmentFile").Str(); e != "" && (!path.IsAbs(e) || path.Clean(e) != e) {
		d.refuse(n.Get("environmentFile"), "%s %s: environmentFile is not absolute and clean", what, name)
	} else if strings.ContainsAny(e, "%*?[\\") {
		d.refuse(n.Get("environmentFile"), "%s %s: environmentFile has one of %%*?[\\, which systemd takes for more "+
			"than the name of a file", what, name)
	}
	d.account(n.Get("user"), what+" "+name)
}

func (d *decoder) service(name string, n *result.Node) fleet.Service {
	s := fleet.Service{Name: name, Description: n.Get("description").Str(), Exec: n.Get("exec").Str(),
		User:            n.Get("user").Str(),
		EnvironmentFile: n.Get("environmentFile").Str(), Restart: n.Get("restart").Str(), Enable: true, Pos: n.At()}
	if e := n.Get("enable"); e != nil {
		s.Enable = e.True()
	}
	if s.Restart == "" {
		s.Restart = "always"
	}
	if s.Description == "" {
		s.Description = name
	}
	d.program(n, "service", name)
	s.Listen, s.Allow = d.listen(name, n.Get("listen")), d.allow(name, n.Get("allow"))
	s.ListenUser = d.account(n.Get("listenUser"), "service "+name)
	s.Directories = d.directories(name, n)
	return s
}

func (d *decoder) listen(service string, n *result.Node) (out []string) {
	if n == nil {
		return nil
	}
	for _, item := range n.Parts {
		port := item.Text
		if at, err := netip.ParseAddrPort(item.Text); err == nil {
			port = strconv.Itoa(int(at.Port()))
			if at.Addr().Zone() != "" {
				port = ""
			}
		}
		number, err := strconv.ParseUint(port, 10, 16)
		unix := path.IsAbs(item.Text) && path.Clean(item.Text) == item.Text && len(item.Text) < 108 && !control(item.Text) &&
			!strings.ContainsAny(item.Text, "% ")
		if (err != nil || number == 0 || port != strconv.FormatUint(number, 10)) && !unix {
			d.refuse(item, "service %s: %s is not a port, ADDRESS:PORT or the path of a Unix socket", service,
				result.Quote(item.Text))
		}
		out = append(out, item.Text)
	}
	return out
}

// allow reads addresses and networks, in the form in which equal ones are equal.
func (d *decoder) allow(service string, n *result.Node) (out []string) {
	if n == nil {
		return nil
	}
	for _, item := range n.Parts {
		p, err := netip.ParsePrefix(item.Text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(item.Text); err == nil && a.Zone() == "" {
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if !p.IsValid() {
			d.refuse(item, "service %s: %s is neither an address nor a network such as 10.0.0.0/8", service,
				result.Quote(item.Text))
			continue
		}
		out = append(out, p.Masked().String())
	}
	if len(out) == 0 && len(n.Parts) == 0 {
		d.refuse(n, "service %s: allow is empty, so nobody could connect", service)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// directories reads the names of a service's own folders. Those of the updater are nobody else's.
func (d *decoder) directories(service string, n *result.Node) (out fleet.Directories) {
	own := n.Get("directories")
	for field, to := range map[string]*string{"run": &out.Run, "state": &out.State, "cache": &out.Cache,
		"logs": &out.Logs} {
		name := own.Get(field)
		if name == nil {
			continue
		}
		if *to = name.Text; schema.CheckName(name.Text) != nil || name.Text == path.Base(schema.StateDir("")) {
			d.refuse(name, "service %s: %s is not the name of a folder of its own", service, result.Quote(name.Text))
		}
		if n.Get("listen") != nil {
			d.refuse(name, "service %s: what is started for each connection has no directories", service)
		}
	}
	return out
}

// seconds reads a duration of whole seconds.
func (d *decoder) seconds(n *result.Node, what string) schema.Duration {
	if n == nil {
		return 0
	}
	got, err := schema.ParseDuration(n.Text)
	if t := time.Duration(got); err != nil || t < time.Second || t%time.Second != 0 || t > 366*24*time.Hour {
		d.refuse(n, "%s %s is not whole seconds, from 1s to 366d", what, result.Quote(n.Text))
	}
	return got
}

// cached is what an interval's output may be: a file below a folder that systemd makes for the unit.
var cached = regexp.MustCompile(`^/var/cache(/[A-Za-z0-9_][A-Za-z0-9_.-]*){2,8}$`)

func (d *decoder) interval(name string, n *result.Node) fleet.Interval {
	i := fleet.Interval{Name: name, Description: cmp.Or(n.Get("description").Str(), name), Exec: n.Get("exec").Str(),
		User:            n.Get("user").Str(),
		EnvironmentFile: n.Get("environmentFile").Str(), Every: d.seconds(n.Get("every"), "interval "+name+": every"),
		Timeout: d.seconds(n.Get("timeout"), "interval "+name+": timeout"), Output: n.Get("output").Str(), Enable: true,
		Pos: n.At()}
	if e := n.Get("enable"); e != nil {
		i.Enable = e.True()
	}
	d.program(n, "interval", name)
	if i.Output != "" && (!cached.MatchString(i.Output) || len(i.Output) > 1024) {
		d.refuse(n.Get("output"), "interval %s: output %s is not a file below a folder of /var/cache, of letters, digits, "+
			"'.', '-' and '_'", name, result.Quote(i.Output))
	}
	return i
}

// twice refuses names that a service and an interval both have: their units would be one.
func (d *decoder) twice(out *fleet.Output) {
	for _, i := range out.Intervals {
		if slices.ContainsFunc(out.Services, func(s fleet.Service) bool { return s.Name == i.Name }) {
			d.ps = append(d.ps, fleet.Problem{Pos: i.Pos,
				Msg: fmt.Sprintf("plugin %s: %s is both a service and an interval", d.p.Name, i.Name)})
		}
	}
}
