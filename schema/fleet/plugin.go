package fleet

import (
	"slices"
	"strings"
)

// Plugin is one agent plug-in: what it declares. What it yields for a host is an evaluator's to tell.
type Plugin struct {
	Name    string
	Doc     string
	Shipped bool                // comes with the tool
	Home    string              // its folder
	Combine Combine             // how rules for it combine
	Params  []Param             // as declared, by name
	Reads   map[string][]string // the fields it declares of platform, host and fleet, by these names
}

// UpdaterPlugin is the shipped plugin that puts the host program and its settings on a host.
const UpdaterPlugin = "updater"

// Combine says what several rules for a plugin make together.
type Combine string

const (
	// CombineFirstPerParameter sets each parameter by the first rule that gives it; the default.
	CombineFirstPerParameter Combine = "first-per-parameter"
	// CombineFirstRule lets the first rule alone decide.
	CombineFirstRule Combine = "first-rule"
	// CombineAppend gives lists the items of all rules, in their order; all else is as by default.
	CombineAppend Combine = "append"
)

// Enabled is the parameter that every plugin has: false keeps the plugin out of a host's package.
const Enabled = "enabled"

// Param is a parameter that a plugin declares.
type Param struct {
	Name     string `json:"name"`
	Type     string `json:"type"`              // as CUE
	Default  string `json:"default,omitempty"` // as CUE: a value, or what it is taken from; empty: none
	Required bool   `json:"required"`          // it has no default, and the plugin needs it
	Doc      string `json:"doc"`               // the comment above it
	// it has the attribute @secret(): neither errors nor explain print its value
	Secret bool `json:"secret,omitempty"`
	// parts of it that have the attribute
	Secrets []PartPath `json:"secrets,omitempty"`
	// what texts in it have to be, besides what the type says
	Forms []Form `json:"-"`
	// it has the attribute @byKey(): each field of the struct is set by the first rule that has it
	ByKey bool `json:"byKey,omitempty"`
	Pos   Pos  `json:"pos,omitzero"`
}

// implicit is the parameter that every plugin has.
var implicit = Param{Name: Enabled, Type: "bool", Default: "true",
	Doc: "Whether hosts that rules give the plugin get it."}

// ByKey reports whether rules add up in a parameter, field by field.
func (p *Plugin) ByKey(name string) bool {
	return slices.ContainsFunc(p.Params, func(param Param) bool { return param.Name == name && param.ByKey })
}

// All are the parameters by name, with the one that every plugin has.
func (p *Plugin) All() []Param {
	all := append(slices.Clone(p.Params), implicit)
	slices.SortFunc(all, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ReadsUpdater reports whether the output depends on whether the package has the updater.
func (p *Plugin) ReadsUpdater() bool { return len(p.Reads["beside"]) > 0 }

// HostFields are the fields of the host that the output depends on.
func (p *Plugin) HostFields() []string { return p.Reads["host"] }

// FleetFields are the fields of Info that the output depends on, as CUE names them.
func (p *Plugin) FleetFields() []string { return p.Reads["fleet"] }

// Inputs are what the output depends on besides the parameters: fields of platform, host and fleet, such as host.name.
func (p *Plugin) Inputs() []string {
	var out []string
	for input, names := range p.Reads {
		for _, name := range names {
			out = append(out, input+"."+name)
		}
	}
	slices.Sort(out)
	return out
}
