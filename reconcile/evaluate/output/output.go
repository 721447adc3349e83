// Package output makes of what a plugin evaluated to what it puts on a host, and refuses what a package cannot or must
// not hold: paths outside of what packages may touch, names that a unit or a shell would read otherwise, scripts that
// no shell takes. Files of the repo are yielded as Pending: their digests take reading.
package output

import (
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Decode reads the sections of a plugin that was evaluated for in. The error is a fleet.Problems.
func Decode(p *fleet.Plugin, in fleet.Inputs, n *result.Node) (*fleet.Output, []Pending, error) {
	d := decoder{p: p, in: in}
	out := &fleet.Output{Plugin: p.Name}
	for name, v := range n.Get("files").ByName() {
		d.index = len(out.Files)
		out.Files = append(out.Files, d.file(name, v))
	}
	d.pems(n.Get("files"))
	for name, v := range n.Get("services").ByName() {
		out.Services = append(out.Services, d.service(name, v))
	}
	for name, v := range n.Get("intervals").ByName() {
		out.Intervals = append(out.Intervals, d.interval(name, v))
	}
	for name, v := range n.Get("users").ByName() {
		out.Users = append(out.Users, d.user(name, v))
	}
	out.Groups = d.groups(n.Get("groups"))
	out.Relations = d.relations(n.Get("relations"))
	out.Scripts = d.scripts(n.Get("scripts"))
	d.twice(out)
	d.settings(out, n.Get("params"))
	if h := n.Get("health"); h != nil && len(h.Names) > 0 {
		out.Health, out.Keeps = d.health(h), d.keeps(h)
	}
	if in.Platform.OS == "windows" {
		d.windows(out, n)
	} else {
		d.executable(out)
	}
	out.Warnings = n.Get("warnings").Strs()
	if err := d.ps.Err(); err != nil {
		return nil, nil, err
	}
	return out, d.pending, nil
}
