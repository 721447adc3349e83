package plan

import (
	"bytes"
	"fmt"
	"testing"

	"bakehouse/schema/fleet"
)

// BenchmarkPlan is a rule that changes every package of 100,000 hosts with 2,000 distinct recipes: what it costs beyond
// evaluating the two commits.
func BenchmarkPlan(b *testing.B) {
	const hosts, recipes = 100_000, 2_000
	sides := [2]Side{}
	for i := range sides {
		outputs := make([][]*fleet.Output, recipes)
		for r := range outputs {
			outputs[r] = []*fleet.Output{{Plugin: "p", Files: []fleet.File{textFile("/etc/own", fmt.Sprint(r), 0o644), textFile("/etc/common", fmt.Sprint("state ", i), 0o644)}}}
		}
		all := make(map[string][]*fleet.Output, hosts)
		for h := range hosts {
			all[fmt.Sprintf("host%06d", h)] = outputs[h%recipes]
		}
		sides[i] = side(all, nil)
	}
	after := desired(sides[1])
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		r := Build(sides[0], sides[1], Diff(sides[0].Hosts, after))
		if len(r.Groups) != 1 || r.Summary.Bake != recipes {
			b.Fatalf("%d groups, %d to bake", len(r.Groups), r.Summary.Bake)
		}
		var text bytes.Buffer
		if err := r.Markdown(&text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/hosts, "ns/host")
}
