package rules

import (
	"encoding/json"
	"io/fs"
	"maps"
	"slices"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/keeps"
)

// identify hashes what ends in the package, in a form that depends on neither the machine nor the order of a map.
func identify(r *Recipe) schema.RecipeID {
	type file struct {
		Path   string        `json:"path"`
		Mode   uint32        `json:"mode"`
		SHA256 schema.Digest `json:"sha256"`
		Owner  string        `json:"owner,omitempty"`
		Caps   []string      `json:"capabilities,omitempty"`
		Group  string        `json:"group,omitempty"`
		Kind   string        `json:"kind,omitempty"` // of what is no regular file
		Link   string        `json:"link,omitempty"`
	}
	type output struct {
		Plugin    string              `json:"plugin"`
		Files     []file              `json:"files"`
		Services  []fleet.Service     `json:"services"`
		Intervals []fleet.Interval    `json:"intervals,omitempty"`
		Users     []fleet.User        `json:"users,omitempty"`
		Groups    []string            `json:"groups,omitempty"`
		Relations fleet.Relations     `json:"relations,omitzero"`
		Scripts   map[string]string   `json:"scripts"` // encoding/json sorts the keys of maps
		Health    *schema.HealthCheck `json:"health"`
		Keeps     *keeps.Keeps        `json:"keeps,omitempty"`
	}
	form := struct {
		Platform schema.Platform `json:"platform"`
		Outputs  []output        `json:"outputs"`
	}{Platform: r.Platform}
	for _, o := range r.Outputs {
		out := output{Plugin: o.Plugin, Services: o.Services, Intervals: o.Intervals, Users: o.Users, Groups: o.Groups,
			Relations: o.Relations, Scripts: o.Scripts, Health: o.Health, Keeps: o.Keeps}
		for _, f := range o.Files {
			kind := map[fs.FileMode]string{fs.ModeDir: "directory", fs.ModeSymlink: "link"}[f.Mode.Type()]
			out.Files = append(out.Files, file{Path: f.Path, Mode: uint32(f.Mode.Perm()), SHA256: f.SHA256,
				Owner: f.Owner, Group: f.Group, Caps: f.Capabilities, Kind: kind, Link: f.Link})
		}
		form.Outputs = append(form.Outputs, out)
	}
	b, err := json.Marshal(form)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return schema.RecipeID(schema.DigestOf(b).Short())
}

// missing lists what a repo needs before its packages can be baked. Each is made by a command, so `check` lets a new
// repo pass without.
func missing(f *fleet.Fleet) (ps fleet.Problems) {
	if f.Anchor() == nil {
		ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: "trust"}, Msg: "there is no root of trust yet",
			Hint: "bakehouse root init"})
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(f.Keys)),
		func(k *fleet.Key) bool { return k.Has(fleet.UsePackage) }) {
		ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: "keys"}, Msg: "there is no key that signs packages yet",
			Hint: "bakehouse key create NAME --use package"})
	}
	return ps.Sorted()
}
