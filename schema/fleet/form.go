package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema"
)

// Form is what a text in a parameter, or each of a list, has to be, which no regular expression says: it has the
// attribute @form(NAME).
type Form struct {
	Path PartPath
	Name string
}

// forms are the forms of texts, by name.
var forms = map[string]func(string) error{
	"host":     schema.CheckHost,
	"address":  checkAddress,
	"network":  checkNetwork,
	"networks": checkNetworks,
	"server":   checkServer,
	"cluster":  checkCluster,
	"listen":   checkListen,
}

// FormNames are the forms that there are.
func FormNames() []string { return slices.Sorted(maps.Keys(forms)) }

// CheckForms says what is wrong with texts in a value of the parameter, each where it is written.
func (p Param) CheckForms(v Value) (ps Problems) {
	if len(p.Forms) == 0 {
		return nil
	}
	var walk func(v Value, path []string, item bool)
	walk = func(v Value, path []string, item bool) {
		at := func(name string) []string { return append(path[:len(path):len(path)], name) }
		for i, item := range v.Items {
			walk(item, at(strconv.Itoa(i)), true)
		}
		for _, f := range v.Fields {
			walk(f.Value, at(f.Name), false)
		}
		if !v.IsText() {
			return
		}
		for _, f := range p.Forms {
			if n := len(f.Path); n != len(path) && !(item && n == len(path)-1) || !f.Path.covers(path) {
				continue
			}
			check := forms[f.Name]
			if check == nil {
				continue // the plugin is refused for it
			}
			if err := check(v.Text()); err != nil {
				what := p.Name
				for _, name := range path {
					if _, err := strconv.Atoi(name); err == nil {
						what += "[" + name + "]"
					} else {
						what += "." + name
					}
				}
				ps = append(ps, Problem{Pos: v.Pos, Msg: what + ": " + err.Error()})
			}
		}
	}
	walk(v, nil, false)
	return ps
}

func checkAddress(s string) error {
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
		return fmt.Errorf("%.80q is not an IP address", s)
	}
	return nil
}

func checkNetwork(s string) error {
	if strings.Contains(s, "/") {
		if _, err := netip.ParsePrefix(s); err != nil {
			return fmt.Errorf("%.80q is not a network such as 10.0.0.0/8", s)
		}
		return nil
	}
	if checkAddress(s) != nil {
		return fmt.Errorf("%.80q is neither an IP address nor a network such as 10.0.0.0/8", s)
	}
	return nil
}

// checkNetworks accepts networks with spaces between them.
func checkNetworks(s string) error {
	for _, one := range strings.Fields(s) {
		if err := checkNetwork(one); err != nil {
			return err
		}
	}
	return nil
}

func checkServer(s string) error {
	if strings.Contains(s, "/") {
		return checkNetwork(s)
	}
	return schema.CheckHost(s)
}

// checkCluster accepts HOST and HOST:PORT, several with ";" between them.
func checkCluster(s string) error {
	for one := range strings.SplitSeq(s, ";") {
		host, port, err := net.SplitHostPort(one)
		if err != nil {
			host, port = strings.TrimSuffix(strings.TrimPrefix(one, "["), "]"), "1"
		}
		if host == "" {
			return fmt.Errorf("%.80q has no host", s)
		}
		if err := cmp.Or(schema.CheckHost(host), checkPort(port)); err != nil {
			return err
		}
	}
	return nil
}

// checkListen accepts a port, and HOST:PORT without a host too.
func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if host, port = "", s; strings.ContainsAny(s, ":[]") {
			return fmt.Errorf("%.80q is not HOST:PORT; an IPv6 address is in [brackets]", s)
		}
	}
	if host != "" {
		if err := schema.CheckHost(host); err != nil {
			return err
		}
	}
	return checkPort(port)
}

func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %.20q is out of range: 1 to 65535 is allowed", s)
	}
	return nil
}
