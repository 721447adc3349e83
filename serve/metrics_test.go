package serve

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

func TestPrometheusReadsWhereTheFleetStands(t *testing.T) {
	t.Parallel()
	f, packs := standardFleet(t)
	f.Policy.Rings = append(f.Policy.Rings, schema.Ring{Name: "broad", Gate: &schema.Gate{Healthy: 90_00, Hosts: 2},
		Halt: &schema.Halt{Failed: 5_00}})
	f.publish()
	w := start(t, f)
	c := w.register("web01")
	w.reporting(c, schema.Report{State: schema.StateFailed, Code: outcome.CodeUnhealthy, Error: "ill \"\n",
		Target: packs["web01"].digest})
	r := w.get(mia, schema.MetricsPath)
	for _, line := range []string{`bakehouse_hosts{state="failed",ring="all",release="none"} 1`,
		"bakehouse_polls_total 1",
		"bakehouse_updates_enabled 1", "bakehouse_store_head_served 1", `bakehouse_ring_halted{ring="all"} 0`,
		`bakehouse_requests_total{route="POST /v1/poll",code="`, `bakehouse_metadata_version{role="timestamp"} 2`,
		`bakehouse_gate_healthy_ratio{ring="broad"} 0.9`, `bakehouse_gate_least_hosts{ring="broad"} 2`,
		`bakehouse_halt_failed_ratio{ring="broad"} 0.05`,
		`bakehouse_attention_hosts{state="failed",code="unhealthy"} 1`} {
		if !strings.Contains(string(r.body), "\n"+line) {
			t.Errorf("no line %s in\n%s", line, r.body)
		}
	}
	if strings.Contains(w.log.String(), "level=INFO msg=request method=POST path=/v1/poll") {
		t.Error("an answered poll is logged above debug")
	}
	wantStatus(t, w.get(caller{"idle", password}, schema.MetricsPath), http.StatusForbidden,
		"lacks the permission view")
	wantStatus(t, w.get(caller{}, schema.MetricsPath), http.StatusUnauthorized, "")
	if r := w.get(caller{}, schema.ReadyPath); r.status != http.StatusOK || !json.Valid(r.body) {
		t.Errorf("%d %s", r.status, r.body)
	}
	check(t, w.db.Close())
	if r := w.get(caller{}, schema.ReadyPath); r.status != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d", r.status)
	}
	w.db = nil
	promtool := needs.Tool(t, "promtool")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(string(r.body))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	rules := exec.CommandContext(t.Context(), promtool, "check", "rules", "../examples/server/alerts.yml")
	if out, err := rules.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
