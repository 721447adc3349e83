package evaluate

import (
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

func rings(list string) map[string]string {
	return map[string]string{"rollout.cue": "package fleet\n\nrollout: rings: [\n" + list + "\n]\n"}
}

func TestGatesOfRingsAreReadIntoThePolicy(t *testing.T) {
	f := loaded(t, repo(rings(`	{name: "canary", when: hosts: ["web01"], halt: failed: "0%"},
	{name: "early", when: hosts: ["~web0[2-4]"], gate: healthy: "100%"},
	{name: "broad", delay: "1h", gate: {rings: ["canary"], healthy: "97.5%", hosts: 10, for: "2h"},
		halt: {failed: "1%", hosts: 3}},`)))
	r := f.Rollout.Rings
	if len(r) != 3 || r[0].Gate != nil || *r[0].Halt != (schema.Halt{}) || r[1].Halt != nil {
		t.Fatalf("%+v", r)
	}
	if g := r[1].Gate; g.Rings != nil || g.Healthy != schema.Whole || g.Hosts != 0 || g.For != 0 {
		t.Errorf("gate of early %+v", g)
	}
	if g := r[2].Gate; len(g.Rings) != 1 || g.Rings[0] != "canary" || g.Healthy != 9750 || g.Hosts != 10 ||
		time.Duration(g.For) != 2*time.Hour || *r[2].Halt != (schema.Halt{Failed: 100, Hosts: 3}) {
		t.Errorf("gate of broad %+v, halt %+v", g, r[2].Halt)
	}
}

func TestAGateThatCannotBeMeantIsRefusedAtItsLine(t *testing.T) {
	const first = "\t{name: \"canary\", when: hosts: [\"web01\"]},\n"
	for name, c := range map[string]struct{ rings, want string }{
		"on the first ring": {`	{name: "canary", gate: healthy: "95%"},`,
			"rollout.cue:4:19: the first ring has a gate, but no ring is before it whose hosts could be looked at"},
		"without a share": {first + `	{name: "all", gate: hosts: 3},`,
			"rollout.cue:5:16: rollout.rings[1].gate.healthy: healthy is missing"},
		"a share above all": {first + `	{name: "all", gate: healthy: "101%"},`,
			`rollout.cue:5:31: rollout.rings[1].gate.healthy: invalid value "101%"`},
		"a share that is a number": {first + `	{name: "all", gate: healthy: 95},`,
			"rollout.cue:5:31: rollout.rings[1].gate.healthy: 95 is an int, not a string"},
		"a share of nobody": {first + `	{name: "all", gate: healthy: "0%"},`,
			"rollout.cue:5:22: healthy: 0% lets the ring begin without any healthy host"},
		"an unknown ring": {first + `	{name: "all", gate: {healthy: "95%", rings: ["canry"]}},`,
			"rollout.cue:5:47: there is no ring \"canry\" (see also rollout.cue:4:2)\n\thint: did you mean canary?"},
		"itself": {first + `	{name: "all", gate: {healthy: "95%", rings: ["all"]}},`,
			"rollout.cue:5:47: ring \"all\" is not before this one, and a gate looks at rings that come earlier " +
				"(see also rollout.cue:5:3)"},
		"a later ring": {first + `	{name: "early", when: hosts: ["web02"], gate: {healthy: "95%", rings: ["all"]}},
	{name: "all"},`,
			`rollout.cue:5:73: ring "all" is not before this one`},
		"a ring twice": {first + `	{name: "all", gate: {healthy: "95%", rings: ["canary", "canary"]}},`,
			`rollout.cue:5:57: ring "canary" stands here twice`},
		"no ring at all": {first + `	{name: "all", gate: {healthy: "95%", rings: []}},`,
			`rollout.cue:5:39: rollout.rings[1].gate.rings: `},
		"too many hosts": {first + `	{name: "all", gate: {healthy: "95%", hosts: 99999999999999999999}},`,
			"rollout.cue:5:39: hosts: 99999999999999999999 is too large"},
		"no host": {first + `	{name: "all", gate: {healthy: "95%", hosts: 0}},`,
			"rollout.cue:5:46: rollout.rings[1].gate.hosts: 0 is out of range: want at least 1"},
		"a halt that nothing reaches": {`	{name: "all", halt: failed: "100%"},`,
			"rollout.cue:4:22: failed: 100% halts nothing: no more than all hosts can fail"},
		"a halt without a limit": {`	{name: "all", halt: hosts: 3},`,
			"rollout.cue:4:16: rollout.rings[0].halt.failed: failed is missing"},
		"misspelt": {first + `	{name: "all", gate: {healty: "95%"}},`,
			"rollout.cue:5:23: rollout.rings[1].gate.healty: unknown field healty\n\thint: did you mean healthy?"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refused(t, repo(rings(c.rings))); !strings.Contains(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}
