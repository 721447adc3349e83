package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// identify hashes what ends in the package, in a form that depends on neither the machine nor the order of a map.
func identify(r *Recipe) schema.RecipeID {
	type file struct {
		Path   string        `json:"path"`
		Mode   uint32        `json:"mode"`
		SHA256 schema.Digest `json:"sha256"`
		Owner  string        `json:"owner,omitempty"`
		Group  string        `json:"group,omitempty"`
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
	}
	form := struct {
		Platform schema.Platform `json:"platform"`
		Outputs  []output        `json:"outputs"`
	}{Platform: r.Platform}
	for _, o := range r.Outputs {
		out := output{Plugin: o.Plugin, Services: o.Services, Intervals: o.Intervals, Users: o.Users, Groups: o.Groups,
			Relations: o.Relations, Scripts: o.Scripts, Health: o.Health}
		for _, f := range o.Files {
			out.Files = append(out.Files, file{f.Path, uint32(f.Mode.Perm()), f.SHA256, f.Owner, f.Group})
		}
		form.Outputs = append(form.Outputs, out)
	}
	b, err := json.Marshal(form)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return schema.RecipeID(schema.DigestOf(b).Short())
}

// conflicts are places that two plugins claim on one host.
func conflicts(outputs []*fleet.Output) (ps fleet.Problems) {
	type claim struct {
		plugin string
		pos    fleet.Pos
	}
	files, services, users := map[string]claim{}, map[string]claim{}, map[string]fleet.User{}
	clash := func(what string, at fleet.Pos, plugin string, first claim) {
		ps = append(ps, fleet.Problem{Pos: at, Msg: fmt.Sprintf("plugins %s and %s both have the %s", first.plugin, plugin,
			what),
			Also: []fleet.Pos{first.pos}})
	}
	for _, o := range outputs {
		for _, f := range o.Files {
			if first, ok := files[f.Path]; ok {
				clash("file "+f.Path, f.Pos, o.Plugin, first)
			}
			files[f.Path] = claim{o.Plugin, f.Pos}
		}
		for _, s := range o.Services {
			if first, ok := services[s.Name]; ok {
				clash("service "+s.Name, s.Pos, o.Plugin, first)
			}
			services[s.Name] = claim{o.Plugin, s.Pos}
		}
		for _, i := range o.Intervals {
			if first, ok := services[i.Name]; ok {
				clash("service "+i.Name, i.Pos, o.Plugin, first)
			}
			services[i.Name] = claim{o.Plugin, i.Pos}
		}
		// Two may well need one user, if they agree on who that is.
		for _, u := range o.Users {
			first, ok := users[u.Name]
			if at := first.Pos; ok {
				if first.Pos = u.Pos; !reflect.DeepEqual(first, u) {
					ps = append(ps, fleet.Problem{Pos: u.Pos,
						Msg: fmt.Sprintf("user %s is described otherwise by another plugin of the host", u.Name), Also: []fleet.Pos{at}})
				}
				continue
			}
			users[u.Name] = u
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		for dir := range parents(path) {
			if first, ok := files[dir]; ok {
				c := files[path]
				ps = append(ps, fleet.Problem{Pos: c.pos, Msg: fmt.Sprintf("%s is a file and cannot hold %s", dir, path),
					Also: []fleet.Pos{first.pos}})
			}
		}
	}
	return ps
}

// parents yields the folders that path is in, but the root.
func parents(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path, '/') {
			path = path[:i]
			if !yield(path) {
				return
			}
		}
	}
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
