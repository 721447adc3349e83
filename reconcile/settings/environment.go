package settings

import (
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
)

// prefix begins every variable that is meant for Bakehouse.
const prefix = "BAKEHOUSE_"

// Variables that are no flags' settings: passphrases by key, what the host program reads, what the jobs of a forge pass
// to one another, and what tests do.
var (
	otherPrefixes  = []string{prefix + "PASSPHRASE_", prefix + "CI_", prefix + "TEST_"}
	otherVariables = []string{configVariable, prefix + "PASSWORD"}
)

const configVariable = prefix + "CONFIG"

// environment reads the settings in environ. A variable with the prefix that nobody reads is refused, as it is most
// likely a setting that its user relies on.
func (t *tree) environment(environ []string) (found, error) {
	names := map[string]name{}
	var known []string
	for command, flags := range t.commands {
		for flag := range flags {
			names[name{command, flag}.variable()] = name{command, flag}
		}
	}
	for flag := range t.shared {
		names[name{"", flag}.variable()] = name{"", flag}
	}
	for variable, n := range names {
		if t.class(n) != Once {
			known = append(known, variable)
		}
	}
	settings := found{}
	slices.Sort(known)
	for _, v := range slices.Sorted(slices.Values(environ)) {
		variable, value, _ := strings.Cut(v, "=")
		n, ok := names[variable]
		switch {
		case !strings.HasPrefix(variable, prefix) || value == "":
		case ok && t.class(n) == Once:
			hint, what := t.onceOnly(n)
			return nil, fault.Hint(fmt.Errorf("%s: %w", variable, what), "%s", hint)
		case ok:
			settings[n] = entry{name: n, at: variable, values: []string{value}, text: true}
		case slices.Contains(otherVariables, variable),
			slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(variable, p) }):
		default:
			hint := "unset it; a setting is BAKEHOUSE_ and the flag's name, or the command's and the flag's"
			if near := cli.Nearest(variable, append(known, otherVariables...)); near != "" {
				hint = "did you mean " + near + "?"
			}
			return nil, fault.Hint(fmt.Errorf("unknown environment variable %.80q", variable), "%s", hint)
		}
	}
	return settings, nil
}
