package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

// usual is what a host in order reports.
func usual(p pack) schema.Report {
	now := time.Now().UTC().Truncate(time.Second)
	return schema.Report{Agent: "1.12.0", Platform: schema.Platform{OS: "linux", Arch: "amd64"}, State: schema.StateCurrent, Code: schema.CodeCurrent,
		Target: p.digest, Downloaded: p.digest, Installed: p.digest, Recipe: "0123456789abcdef", Release: 1234, Fetched: 123456, LastCheck: now, LastUpdate: now}
}

func TestAnIdlePollCostsAtMost600BytesBothWays(t *testing.T) {
	f, packs := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	q := schema.PollRequest{Schema: schema.WireSchema, Timestamp: 1, Root: 1, Report: usual(packs["web01"])}
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
		a, r := w.poll(c, schema.PollRequest{Timestamp: v - 1, Root: 1})
		if r.status != http.StatusOK || !strings.Contains(string(a.Timestamp), `"version":`+string(rune('0'+v))) {
			t.Fatalf("%d: %s", r.status, a.Timestamp)
		}
	}
	// A host that has seen more than this site has is told what the site has.
	if a, _ := w.poll(c, schema.PollRequest{Timestamp: 99, Root: 1}); len(a.Timestamp) == 0 {
		t.Error("a site that is behind says nothing")
	}
}

func TestAReportIsKeptWithoutWhatCouldHarmItsReader(t *testing.T) {
	f, _ := standardFleet(t)
	w := start(t, f)
	c := w.register("web01")
	hostile := "a\x1b[2J\r\nb\u202e\x00<script>" + strings.Repeat("é", 3000)
	_, r := w.poll(c, schema.PollRequest{Timestamp: 7, Root: 3, Report: schema.Report{Agent: hostile, State: hostile, Code: hostile, Error: hostile,
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
		`{"schema":9}`: "schema 9",
		`{"schema":1,"report":{"target":"sha256:xyz"}}`: "not understood",
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

func FuzzCleanAndTidy(f *testing.F) {
	f.Add("plain", 5)
	f.Add("é\xff\x00\u202e", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 0), 5000)
		got := clean(s, limit)
		if len(got) > limit || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r == 0x7f }) || !json.Valid([]byte(quote(got))) {
			t.Errorf("clean(%q, %d) = %q", s, limit, got)
		}
	})
}
