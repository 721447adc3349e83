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

// Variables that are no flags' settings: passphrases by key, what the host program reads, the password for a store
// behind a server, what the jobs of a forge pass to one another, and what tests do.
var (
	otherPrefixes  = []string{prefix + "PASSPHRASE_", prefix + "CI_", prefix + "TEST_"}
	otherVariables = []string{configVariable, prefix + "PASSWORD", prefix + "STORE_PASSWORD",
		prefix + "UPSTREAM_SECRET"}
)

const configVariable = prefix + "CONFIG"

// environment reads the settings in environ. A variable with the prefix that nobody reads is refused if it looks like
// one that somebody does, as its user relies on it then, and listed in unread otherwise: Kubernetes gives every
// container next to a service called bakehouse a BAKEHOUSE_SERVICE_HOST.
func (t *tree) environment(environ []string) (_ found, unread []string, err error) {
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
			return nil, nil, fault.Hint(fmt.Errorf("%s: %w", variable, what), "%s", hint)
		case ok:
			settings[n] = entry{name: n, at: variable, values: []string{value}, text: true}
		case slices.Contains(otherVariables, variable),
			slices.ContainsFunc(otherPrefixes, func(p string) bool { return strings.HasPrefix(variable, p) }):
		default:
			if near := misspelt(variable, append(known, otherVariables...)); near != "" {
				return nil, nil, fault.Hint(fmt.Errorf("unknown environment variable %.80q", variable),
					"did you mean %s?", near)
			}
			unread = append(unread, fmt.Sprintf("%.80q", variable))
		}
	}
	return settings, unread, nil
}

// misspelt is what variable was most likely meant to be, empty if that is nothing that anybody reads.
func misspelt(variable string, known []string) string {
	own := strings.TrimPrefix(variable, prefix)
	for _, k := range known {
		if cli.Typo(own, strings.TrimPrefix(k, prefix)) {
			return k
		}
	}
	for _, p := range otherPrefixes {
		word, rest, ok := strings.Cut(own, "_")
		if begin := strings.Trim(strings.TrimPrefix(p, prefix), "_"); ok && cli.Typo(word, begin) {
			return p + rest
		}
	}
	return ""
}
