package evaluate

import (
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema/fleet"
)

// err is what is wrong so far, without secrets: it ends in logs, and in comments that anybody can read.
func (ld *loader) err() error {
	for i, p := range ld.ps {
		if ld.hides(p.Path) {
			ld.ps[i].Msg = withoutValues(p)
		}
	}
	ld.ps = ld.ps.WithoutTexts(nil)
	return ld.ps.Err()
}

// withoutValues is the message without the values that it quotes after the path that it begins with.
func withoutValues(p fleet.Problem) string {
	path, rest, ok := strings.Cut(p.Msg, ": ")
	if !ok || len(p.Path) == 0 {
		return fleet.WithoutValues(p.Msg)
	}
	return path + ": " + fleet.WithoutValues(rest)
}

// hides reports whether what CUE says of the value at a path of a directory may tell a secret: a parameter that is one,
// the hash of a password, or what only has a name for whoever wrote it.
func (ld *loader) hides(path []string) bool {
	path = slices.DeleteFunc(slices.Clone(path), func(s string) bool { _, err := strconv.Atoi(s); return err == nil })
	private := func(s string) bool { return strings.HasPrefix(s, "_") || strings.HasPrefix(s, "#") }
	if slices.ContainsFunc(path, private) {
		return true
	}
	switch {
	case len(path) > 2 && path[0] == "users" && path[2] == "hash":
		return true
	case len(path) > 3 && path[0] == "rules" && path[2] == "value":
		return ld.hidesParam(path[1], path[3], path[4:])
	case len(path) > 4 && path[0] == "hosts" && path[2] == "set":
		return ld.hidesParam(path[3], path[4], path[5:])
	}
	return false
}

func (ld *loader) hidesParam(plugin, param string, path []string) bool {
	p := ld.plugins[name(plugin)]
	if p == nil {
		return name(plugin) != fleet.HostAttributes // what it is, nobody knows
	}
	declared, ok := p.Param(name(param))
	for i := range path {
		path[i] = name(path[i])
	}
	return !ok || declared.Hides(path)
}

// name is a field's, which CUE quotes where it is no identifier.
func name(s string) string {
	if plain, err := strconv.Unquote(s); err == nil {
		return plain
	}
	return s
}

// wantNamed has the plugins evaluated that folders name which did not evaluate: they know what is a secret.
func (ld *loader) wantNamed() {
	for _, p := range ld.ps {
		switch {
		case len(p.Path) > 1 && p.Path[0] == "rules":
			ld.wanted[name(p.Path[1])] = true
		case len(p.Path) > 3 && p.Path[0] == "hosts" && p.Path[2] == "set":
			ld.wanted[name(p.Path[3])] = true
		}
	}
}
