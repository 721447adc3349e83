package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
)

// fleetSettings are what hosts and servers are told of the fleet as a whole, where it differs: the policy, who may do
// what, and the root of trust.
func fleetSettings(before, after Side) []Setting {
	was, is := flatten(before), flatten(after)
	names := maps.Clone(was)
	maps.Copy(names, is)
	out := []Setting{}
	// What is revoked comes first: it takes a package away from hosts that run it.
	for _, name := range slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return cmp.Or(first(a == revokedSetting, b == revokedSetting), strings.Compare(a, b))
	}) {
		a, b := was[name], is[name]
		if a == b {
			continue
		}
		if strings.HasSuffix(name, ".hash") {
			a, b = hidden(a), hidden(b)
		}
		out = append(out, Setting{Name: name, Before: short(a), After: short(b)})
	}
	return out
}

const revokedSetting = "policy.revoked"

// hidden says that there is a value without showing it.
func hidden(v string) string {
	if v == "" {
		return ""
	}
	return "(a hash, " + schema.DigestOf([]byte(v)).Short()[:8] + ")"
}

// short is a value of bearable length.
func short(v string) string {
	const most = 300
	if len(v) <= most {
		return v
	}
	return strings.ToValidUTF8(v[:most], "") + "… (" + schema.DigestOf([]byte(v)).Short() + ")"
}

// flatten names each value by its path. Lists stay whole, since their order counts.
func flatten(s Side) map[string]string {
	out := map[string]string{}
	if s.Policy.Schema != 0 {
		policy := tree(s.Policy)
		for _, name := range []string{"schema", "fleet", "issued"} {
			delete(policy, name)
		}
		spread(out, "policy", policy)
	}
	access := tree(s.Access)
	delete(access, "schema")
	spread(out, "access", access)
	if s.Roots > 0 {
		out["root of trust"] = fmt.Sprintf("version %d", s.Roots)
		for role, may := range s.Trust {
			out["root of trust: "+role] = may
		}
	}
	return out
}

func tree(v any) map[string]any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // wire types always encode
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		panic(err)
	}
	return m
}

func spread(out map[string]string, name string, v any) {
	switch v := v.(type) {
	case nil:
	case string:
		out[name] = v
	case map[string]any:
		for key, field := range v {
			spread(out, name+"."+key, field)
		}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was decoded from JSON
		}
		out[name] = string(b)
	}
}
