package serve

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

// usual is what a host in order reports.
func usual(p pack) schema.Report {
	now := time.Now().UTC().Truncate(time.Second)
	return schema.Report{Agent: "1.12.0", Platform: schema.Platform{OS: "linux", Arch: "amd64"},
		State: schema.StateCurrent, Code: schema.CodeCurrent,
		Target: p.digest, Downloaded: p.digest, Installed: p.digest, Recipe: "0123456789abcdef", Release: 1234,
		Fetched: 123456, LastCheck: now, LastUpdate: now,
		Machine: "0123456789abcdef"}
}

func TestAnIdlePollCostsAtMost600BytesBothWays(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	q := schema.PollRequest{Schema: schema.WireVersions(), MetadataVersions: held(1, 1), Report: usual(packs["web01"])}
	body, err := json.Marshal(q)
	check(t, err)
	for range 2 {
		r := w.do(c, http.MethodPost, schema.PollPath, body)
		if r.status != http.StatusNoContent {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if n := len(body) + len(r.body); n > 600 {
			t.Errorf("%d bytes", n)
		} else {
			t.Logf("%d bytes", n)
		}
	}
}

func TestAPollBringsTheNewTimestampTheMomentItIsPublished(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	a, r := w.poll(c, schema.PollRequest{Report: schema.Report{State: schema.StateNew}})
	if r.status != http.StatusOK || a.Root != 1 || a.Site != "central" || a.Hold != "" {
		t.Fatalf("first poll: %d %s", r.status, r.body)
	}
	for v := int64(2); v < 5; v++ {
		f.assign("web01", v, f.bake("web01, changed"), packs["web01"])
		f.publish()
		a, r := w.poll(c, schema.PollRequest{MetadataVersions: held(v-1, 1)})
		if r.status != http.StatusOK || !strings.Contains(string(f.stampOf(a, v-1)), `"version":`+string(rune('0'+v))) {
			t.Fatalf("%d: %s", r.status, r.body)
		}
	}
	// A host that has seen more than this site has is told what the site has.
	if a, _ := w.poll(c, schema.PollRequest{MetadataVersions: held(99, 1)}); f.stampOf(a, 99) == nil {
		t.Error("a site that is behind says nothing")
	}
}

func TestAReportIsKeptWithoutWhatCouldHarmItsReader(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	hostile := "a\x1b[2J\r\nb\u202e\x00<script>" + strings.Repeat("é", 3000)
	_, r := w.poll(c, schema.PollRequest{MetadataVersions: held(7, 3), Report: schema.Report{
		Agent: hostile, State: hostile, Code: hostile, Error: hostile,
		Recipe: "../../etc", Release: -5, Fetched: -1}})
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	h, err := w.db.Host(t.Context(), "web01")
	check(t, err)
	got := h.Seen.Report
	for name, s := range map[string]string{"agent": got.Agent, "state": got.State, "code": got.Code, "error": got.Error} {
		if strings.ContainsAny(s, "\x00\x1b\r\n\u202e") || len(s) > 2000 {
			t.Errorf("%s: %d bytes %.40q", name, len(s), s)
		}
	}
	if !strings.HasPrefix(got.Error, "a [2J  b  <script>é") || got.Recipe != "" || got.Release != 0 || got.Fetched != 0 {
		t.Errorf("%.60q %+v", got.Error, got)
	}
	if h.Seen.Timestamp != 7 || h.Seen.Root != 3 || h.User != "installer" || h.Agent != "1.0" {
		t.Errorf("%+v", h)
	}
}

func TestAPollThatIsNotUnderstoodChangesNothing(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	for body, text := range map[string]string{
		`{"schema":{"min":9,"max":9}}`:                                  "version 9",
		`{"schema":{"min":1,"max":1},"report":{"target":"sha256:xyz"}}`: "not understood",
		`[]`: "not understood",
		``:   "not understood",
	} {
		wantStatus(t, w.do(c, http.MethodPost, schema.PollPath, []byte(body)), http.StatusBadRequest, text)
	}
	wantStatus(t, w.do(c, http.MethodPost, schema.PollPath, make([]byte, schema.MaxWire+1)), http.StatusRequestEntityTooLarge, "larger")
	if h, err := w.db.Host(t.Context(), "web01"); err != nil || !h.Seen.At.IsZero() {
		t.Errorf("%+v %v", h, err)
	}
}

// The matrix of mixed versions: the answer is in the highest that both speak, or says who must be updated.
func TestHostAndServerAgreeOnAVersion(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	v := func(min, max int) schema.Versions { return schema.Versions{Min: min, Max: max} }
	for _, m := range []struct {
		server, host schema.Versions
		version      int    // 0: none
		hint         string // who must be updated
	}{
		{v(1, 1), v(1, 1), 1, ""}, {v(1, 3), v(1, 1), 1, ""}, {v(1, 3), v(2, 2), 2, ""}, {v(1, 3), v(3, 9), 3, ""},
		{v(2, 3), v(1, 2), 2, ""}, {v(2, 2), v(1, 9), 2, ""},
		{v(1, 2), v(3, 4), 0, "update the server before the hosts"},
		{v(3, 4), v(1, 2), 0, "update the host program"},
		{v(1, 3), v(3, 2), 0, "update the host program"}, // none at all
		{v(1, 3), v(-5, 0), 0, "update the host program"}, {v(1, 1), v(0, 0), 0, "update the host program"},
	} {
		w.server.speaks = m.server
		poll, register := schema.PollRequest{Schema: m.host}, registration("web02")
		register.Schema = m.host
		for _, r := range []reply{
			w.do(c, http.MethodPost, schema.PollPath, poll),
			w.do(installer, http.MethodPost, schema.RegisterPath, register),
		} {
			if m.version == 0 {
				wantStatus(t, r, http.StatusBadRequest, m.hint)
				wantStatus(t, r, http.StatusBadRequest,
					"the host speaks "+m.host.String()+" of the protocol, this server "+m.server.String())
				continue
			}
			var a struct{ Schema int }
			if err := schema.Decode(r.body, &a); err != nil || r.status != http.StatusOK || a.Schema != m.version {
				t.Errorf("server %s, host %s: %d %s, want version %d", m.server, m.host, r.status, r.body, m.version)
			}
		}
	}
}

func TestDetailsOfAReportAreBoundedKeptAndGivenBack(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	reported := func() *schema.Details {
		h, err := w.db.Host(t.Context(), "web01")
		check(t, err)
		return h.Seen.Report.Details
	}
	d := schema.Details{Interval: 3600, Previous: packs["web02"].digest, Snapshot: packs["web03"].digest,
		Bin: packs["web04"].digest,
		Keys: []schema.KeyState{{Name: "release", State: schema.KeyExpiring,
			Expires: f.Now.UTC().Truncate(time.Second)}},
		Ignored: []schema.IgnoredSignature{{Key: "key ci", Reason: "it does not verify"}},
		Paused:  &schema.Pause{Since: f.Now.UTC().Truncate(time.Second), Reason: "migration"},
		Drift:   "/usr/bin/a is missing", Repaired: f.Now.UTC().Truncate(time.Second),
		Stopped: []string{"a.service stopped"},
		LogTail: "one line\nanother", Log: &schema.TreeHead{Size: 42, Root: packs["web01"].digest}}
	report := usual(packs["web01"])
	report.Details = &d
	w.poll(c, schema.PollRequest{MetadataVersions: held(1, 0), Report: report})
	report.Details, report.State = nil, schema.StateHeld // as last sent
	w.poll(c, schema.PollRequest{MetadataVersions: held(1, 0), Report: report})
	if got := reported(); got == nil || !reflect.DeepEqual(*got, d) {
		t.Errorf("came back as %+v\nwant %+v", got, d)
	}

	hostile := "a\x1b[2J\r\nb\u202e\x00" + strings.Repeat("é", 600)
	h := schema.Details{Interval: -1, Paused: &schema.Pause{Reason: hostile}, Drift: strings.Repeat(hostile, 3),
		LogTail: hostile + strings.Repeat("é", 3000) + "\nlast",
		Log:     &schema.TreeHead{Size: -1}}
	for range 200 {
		h.Keys = append(h.Keys, schema.KeyState{Name: hostile, State: hostile})
		h.Ignored = append(h.Ignored, schema.IgnoredSignature{Key: hostile, Reason: hostile})
		h.Stopped = append(h.Stopped, "\x1b[2J.service stopped")
	}
	report.Details = &h
	body, err := json.Marshal(
		schema.PollRequest{Schema: schema.WireVersions(), MetadataVersions: held(1, 0), Report: report})
	check(t, err)
	if r := w.do(c, http.MethodPost, schema.PollPath, body); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d bytes: %d", len(body), r.status)
	}
	h.Keys, h.Ignored = h.Keys[:17], h.Ignored[:17]
	w.poll(c, schema.PollRequest{MetadataVersions: held(1, 0), Report: report})
	got := reported()
	if got == nil || got.Interval != 0 || len(got.Paused.Reason) > 300 || got.Log.Size != 0 ||
		len(got.Drift) > schema.MaxDrift || len(got.Stopped) != schema.MaxStopped ||
		len(got.Keys) != schema.MaxKeys || len(got.Ignored) != schema.MaxIgnored ||
		len(got.LogTail) > schema.MaxLogTail || !strings.HasSuffix(got.LogTail, "é\nlast") {
		t.Fatalf("kept %+v", got)
	}
	kept, err := json.Marshal(got)
	check(t, err)
	if len(kept) > 16<<10 || bytes.ContainsAny(kept, "\x00\x1b\r\u202e") || strings.Contains(string(kept), `\u001b`) {
		t.Errorf("%d bytes are kept: %.200s", len(kept), kept)
	}
}
