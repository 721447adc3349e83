package evaluate

import (
	"slices"
	"strconv"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func (b *builder) takeRollout(n *result.Node) {
	r := &b.fleet.Rollout
	r.Enabled, r.Select = n.Get("enabled").True(), b.when(n.Get("select"))
	if r.MaxHold = b.duration(n.Get("maxHold")); n.Get("maxHold") != nil && r.MaxHold <= 0 {
		b.problem(n.Get("maxHold"), "maxHold is no time at all")
	}
	b.takeRevoked(n.Get("revoked"))
	rings := n.Get("rings")
	if rings == nil {
		r.Rings = []fleet.Ring{{Ring: schema.Ring{Name: "all"}}}
		return
	}
	for i, v := range rings.Parts {
		name := v.Get("name")
		if first := ringOf(rings, name.Text); first < i {
			p := b.problem(name, "ring %q stands here twice", name.Text)
			p.Also = []fleet.Pos{rings.Parts[first].Get("name").At()}
		}
		r.Rings = append(r.Rings, fleet.Ring{Ring: schema.Ring{Name: name.Text, Delay: b.duration(v.Get("delay")),
			Gate: b.gate(v.Get("gate"), rings), Halt: b.halt(v.Get("halt"))}, When: b.when(v.Get("when")), Pos: v.At()})
	}
}

func ringOf(rings *result.Node, name string) int {
	return slices.IndexFunc(rings.Parts, func(r *result.Node) bool { return r.Get("name").Text == name })
}

// gate reads the gate of the ring that comes after those that were read, of all in rings.
func (b *builder) gate(n *result.Node, rings *result.Node) *schema.Gate {
	if n == nil {
		return nil
	}
	before := len(b.fleet.Rollout.Rings)
	if before == 0 {
		b.problem(n, "the first ring has a gate, but no ring is before it whose hosts could be looked at")
	}
	g := &schema.Gate{Hosts: b.count(n.Get("hosts"), "hosts"), For: b.duration(n.Get("for"))}
	g.Healthy, _ = schema.ParseShare(n.Get("healthy").Text) // its form is the schema's
	if v := n.Get("healthy"); g.Healthy == 0 {
		b.problem(v, "healthy: 0%% lets the ring begin without any healthy host").Hint = "raise it"
	}
	for _, v := range n.Get("rings").Items() {
		switch later := ringOf(rings, v.Text); {
		case slices.Contains(g.Rings, v.Text):
			b.problem(v, "ring %q stands here twice", v.Text)
		case later >= before:
			b.problem(v, "ring %q is not before this one, and a gate looks at rings that come earlier", v.Text).Also =
				[]fleet.Pos{rings.Parts[later].Get("name").At()}
		default:
			b.exists(v.At(), fleet.AttrRing, v.Text, b.names())
		}
		g.Rings = append(g.Rings, v.Text)
	}
	return g
}

func (b *builder) halt(n *result.Node) *schema.Halt {
	if n == nil {
		return nil
	}
	h := &schema.Halt{Hosts: b.count(n.Get("hosts"), "hosts")}
	if h.Failed, _ = schema.ParseShare(n.Get("failed").Text); h.Failed == schema.Whole {
		b.problem(n.Get("failed"), "failed: 100%% halts nothing: no more than all hosts can fail").Hint = "lower it"
	}
	return h
}

// count reads a number that is not negative, what says of what; a nil node is 0.
func (b *builder) count(n *result.Node, what string) (count int) {
	if n != nil {
		if count, _ = strconv.Atoi(n.Text); n.Text != strconv.Itoa(count) {
			b.problem(n, "%s: %s is too large", what, n.Text)
		}
	}
	return count
}

func (b *builder) takeRevoked(n *result.Node) {
	seen := map[schema.Digest]*result.Node{}
	for _, v := range n.Items() {
		d, err := schema.ParseDigest(v.Text)
		if err != nil || d.IsZero() {
			b.problem(v, "revoked: %s is not the sha256 of a package", result.Quote(v.Text))
			continue
		}
		if first := seen[d]; first != nil {
			b.problem(v, "package %s is revoked twice", d.Short()).Also = []fleet.Pos{first.At()}
		}
		seen[d] = v
		b.fleet.Rollout.Revoked = append(b.fleet.Rollout.Revoked, d)
	}
}
