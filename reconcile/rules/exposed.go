package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// exposed warns of secrets that everybody on the host can read: in the content of a file, in the command line of a
// process or a unit, in a name.
func exposed(plugin *fleet.Plugin, params map[string]*Setting, out *fleet.Output) (ps fleet.Problems) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		param, ok := plugin.Param(name)
		if !ok || !param.HasSecret() {
			continue
		}
		mask := fleet.MaskOf(param.SecretsOf(params[name].JSON))
		holds := func(text string) bool { return mask.Text(text) != text }
		warn := func(where, hint string) {
			ps = append(ps, fleet.Problem{Pos: params[name].Pos, Hint: hint,
				Msg: fmt.Sprintf("everybody on the host can read the secret %s.%s: it is in %s", plugin.Name, name,
					mask.Text(where))})
		}
		const inFile = "have the plugin write it to a file with the mode 0o600, and name that file instead"
		for _, f := range out.Files {
			switch {
			case holds(f.Path):
				warn("the path "+f.Path, inFile)
			case holds(f.Link):
				warn("the target of the link "+f.Path, inFile)
			case f.Mode&0o004 != 0 && f.Content != nil && holds(string(f.Content)):
				warn(fmt.Sprintf("%s, which has the mode %#o", f.Path, f.Mode.Perm()),
					"give the file the mode 0o600, or 0o640 and the group that reads it")
			}
		}
		for _, s := range out.Services {
			if holds(s.Name + "\n" + s.Description + "\n" + s.Exec + "\n" + s.EnvironmentFile) {
				warn("the unit of the service "+s.Name, inFile)
			}
		}
		for _, i := range out.Intervals {
			if holds(i.Name + "\n" + i.Description + "\n" + i.Exec + "\n" + i.EnvironmentFile + "\n" + i.Output) {
				warn("the unit of the interval "+i.Name, inFile)
			}
		}
		for _, step := range slices.Sorted(maps.Keys(out.Scripts)) {
			if holds(out.Scripts[step]) {
				warn("the script "+step+", which package managers keep for everybody to read", inFile)
			}
		}
		if out.Health != nil && holds(strings.Join(out.Health.Command, "\n")) {
			warn("the command line of the health check", inFile)
		}
		if k := out.Keeps; k != nil && holds(strings.Join(append(slices.Clone(k.Command), k.URL), "\n")) {
			warn("the command line of what is kept", inFile)
		}
	}
	return ps
}
