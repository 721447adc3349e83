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
	r.Enabled = n.Get("enabled").True()
	r.Select = b.when(n.Get("select"))
	if r.MaxHold = b.duration(n.Get("maxHold")); n.Get("maxHold") != nil && r.MaxHold <= 0 {
		b.problem(n.Get("maxHold"), "maxHold is no time at all")
	}
	b.takeRevoked(n.Get("revoked"))
	rings := n.Get("rings")
	if rings == nil {
		r.Rings = []fleet.Ring{{Ring: schema.Ring{Name: "all"}}}
		return
	}
	seen := map[string]*result.Node{}
	for _, v := range rings.Parts {
		name := v.Get("name")
		if first := seen[name.Text]; first != nil {
			b.problem(name, "ring %q stands here twice", name.Text).Also = []fleet.Pos{first.At()}
		}
		seen[name.Text] = name
		r.Rings = append(r.Rings, fleet.Ring{Ring: schema.Ring{Name: name.Text, Delay: b.duration(v.Get("delay")),
			Gate: b.gate(v.Get("gate"), rings), Halt: b.halt(v.Get("halt"))}, When: b.when(v.Get("when")), Pos: v.At()})
	}
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
	g := &schema.Gate{Healthy: b.share(n.Get("healthy")), Hosts: b.count(n.Get("hosts"), "hosts"),
		For: b.duration(n.Get("for"))}
	if v := n.Get("healthy"); g.Healthy == 0 {
		b.problem(v, "healthy: 0%% lets the ring begin without any healthy host").Hint = "raise it"
	}
	if max := b.fleet.Rollout.MaxHold; max > 0 && g.For >= max {
		b.warn(fleet.Problem{Pos: n.Get("for").At(), Msg: "for: " + g.For.String() + " is not less than maxHold, " +
			max.String() + ": hosts report themselves critical before this gate can open"})
	}
	for _, v := range n.Get("rings").Items() {
		later := slices.IndexFunc(rings.Parts, func(r *result.Node) bool { return r.Get("name").Text == v.Text })
		switch {
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
	if v := n.Get("failed"); b.share(v) == schema.Whole {
		b.problem(v, "failed: 100%% halts nothing: no more than all hosts can fail").Hint = "lower it"
	}
	return &schema.Halt{Failed: b.share(n.Get("failed")), Hosts: b.count(n.Get("hosts"), "hosts")}
}

func (b *builder) share(n *result.Node) schema.Share {
	s, _ := schema.ParseShare(n.Text) // the schema has its form
	return s
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
	if n == nil {
		return
	}
	seen := map[schema.Digest]*result.Node{}
	for _, v := range n.Parts {
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
