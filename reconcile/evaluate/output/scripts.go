package output

import (
	"math"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"bakehouse/reconcile/evaluate/result"
)

// scripts are texts for a shell, so line breaks and tabs are in order. What a terminal would obey or sh would choke on
// is not.
func (d *decoder) scripts(n *result.Node) map[string]string {
	out := map[string]string{}
	for step, text := range n.Fields() {
		lines := strings.NewReplacer("\n", "", "\t", "").Replace(text.Text)
		if control(lines) || len(text.Text) > math.MaxUint16 {
			d.refuse(text, "script %s: it holds control characters, or more than 64 KiB", step)
		}
		// sh would find it out on the host, half-way through an installation.
		if _, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text.Text),
			step); err != nil {
			d.refuse(text, "script %v", err)
		}
		if strings.TrimSpace(text.Text) != "" {
			out[step] = text.Text
		}
	}
	return out
}
