package evaluate

import (
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/passhash"
)

// takeUsers reads access.cue. What servers would not let in, or not compute, is refused here.
func (b *builder) takeUsers(n *result.Node) {
	for name, v := range n.Fields() {
		u := schema.User{Hash: v.Get("hash").Str(), Automation: v.Get("automation").True(),
			Permissions: map[string][]string{}}
		if _, err := passhash.Parse(u.Hash); err != nil {
			b.problem(v.Get("hash"), "users: %s: %v", name, err).Hint = fault.HintOf(err)
		}
		for permission, patterns := range v.Get("permissions").Fields() {
			for _, p := range patterns.Parts {
				if _, err := schema.MatchHost(p.Text, ""); err != nil {
					b.problem(p, "users: %s: %s: %v", name, permission, err)
				}
			}
			u.Permissions[permission] = patterns.Strs()
		}
		b.fleet.Access.Users[name] = u
	}
}
