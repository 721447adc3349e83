package bake_test

import (
	"strings"
	"testing"

	"bakehouse/reconcile/program"
	"bakehouse/schema"
)

func TestEveryFormatOfAPlatformIsBakedForItAndServicesOnlyWhereSystemdIs(t *testing.T) {
	for _, p := range program.Known {
		for _, format := range p.Formats() {
			src := repo{}
			r := example(src, someID, ":9100")
			r.Platform = p
			st := newMemory()
			pkg := assembled(t, st, baked(t, st, src, r, format))
			if format == schema.Rpm {
				continue // read by rpm's own tests
			}
			units := 0
			for _, e := range dataOf(t, pkg, format) {
				if strings.Contains(e.Name, "/systemd/") {
					units++
				}
			}
			if (units > 0) != (p.OS == "linux") {
				t.Errorf("%s as %s: %d units", p, format, units)
			}
		}
	}
}
