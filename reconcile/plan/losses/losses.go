// Package losses finds what hosts' monitoring has no more on purpose, so that no host goes back for it: names that a
// plugin newly announces as dropped, and plugins that go.
package losses

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema/fleet"
)

// Loss is one of them.
type Loss struct {
	Plugin string   `json:"plugin"`
	Names  []string `json:"names,omitempty"` // regular expressions; none: the plugin goes
	Hosts  int      `json:"hosts"`
}

// String says it in a line.
func (l *Loss) String() string {
	hosts := fmt.Sprintf("%d hosts", l.Hosts)
	if l.Hosts == 1 {
		hosts = "1 host"
	}
	if len(l.Names) == 0 {
		return fmt.Sprintf("plugin %s goes from %s, and with it all that it has the monitoring print", l.Plugin, hosts)
	}
	return fmt.Sprintf("plugin %s announces that these names go from the monitoring of %s: %s", l.Plugin, hosts,
		strings.Join(l.Names, ", "))
}

// Found is fed with pairs of recipes, and keeps each loss once.
type Found struct{ all map[key]*Loss }

type key struct{ plugin, names string }

// Add compares what a host had with what it gets.
func (f *Found) Add(was, is *rules.Recipe) {
	if was == nil || is == nil {
		return
	}
	after := map[string]*fleet.Output{}
	for _, o := range is.Outputs {
		after[o.Plugin] = o
	}
	for _, o := range was.Outputs {
		names := announced(o, after[o.Plugin])
		if len(names) == 0 && after[o.Plugin] != nil {
			continue
		}
		k := key{o.Plugin, strings.Join(names, "\n")}
		if f.all == nil {
			f.all = map[key]*Loss{}
		}
		if f.all[k] == nil {
			f.all[k] = &Loss{Plugin: o.Plugin, Names: names}
		}
		f.all[k].Hosts++
	}
}

// announced is what now announces as dropped and was did not.
func announced(was, now *fleet.Output) []string {
	if now == nil || now.Keeps == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(now.Keeps.Dropped), func(name string) bool {
		return was.Keeps != nil && slices.Contains(was.Keeps.Dropped, name)
	})
}

// List is all that was found, without secrets.
func (f *Found) List(m fleet.Mask) (out []Loss) {
	for _, k := range slices.SortedFunc(maps.Keys(f.all), func(x, y key) int {
		return cmp.Or(cmp.Compare(x.plugin, y.plugin), cmp.Compare(x.names, y.names))
	}) {
		l := *f.all[k]
		l.Names = slices.Clone(l.Names)
		for i := range l.Names {
			l.Names[i] = m.Text(l.Names[i])
		}
		out = append(out, l)
	}
	return out
}
