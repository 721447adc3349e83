package agent

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// details are those of the report that the fleet's server got last, nil if it had none.
func lastDetails(t *testing.T, f *testfleet.Fleet) *schema.Details {
	t.Helper()
	return lastReport(t, f).Details
}

func TestReportsSayHowTheHostChecksAndWhatItVerified(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	first := h.update()
	f.Give("web01", version(f, "two"))
	h.update()
	r := lastReport(t, f)
	d := r.Details
	if d == nil || d.Interval != 3600 || d.Previous != first.Package.Package || d.LogTail != "" || d.Log != nil ||
		!r.NextCheck.Equal(f.Now().Add(time.Hour)) {
		t.Errorf("reported %+v %+v", r, d)
	}
	if d.Snapshot != schema.DigestOf(f.Files["3.snapshot.json"]) ||
		d.Bin != schema.DigestOf(f.Files["3."+f.Bin("web01")+".json"]) {
		t.Errorf("verified snapshot %s, bin %s", d.Snapshot, d.Bin)
	}
	if len(d.Keys) != 1 || d.Keys[0] != (schema.KeyState{Name: "release", State: schema.KeyValid}) {
		t.Errorf("accepts %+v", d.Keys)
	}
}

func TestDetailsAreSentWhenTheyChangeOrADayHasPassedOrTheHostIsRegisteredAgain(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	h.update() // the bin that was verified is news
	for range 3 {
		f.Pass(time.Hour)
		h.update()
		if d := lastDetails(t, f); d != nil {
			t.Fatalf("an idle poll sends %+v", d)
		}
	}
	b, err := json.Marshal(f.Reports()[len(f.Reports())-1])
	if err != nil || len(b) > 720 {
		t.Errorf("an idle poll has %d bytes, %v: %s", len(b), err, b)
	}
	t.Logf("an idle poll has %d bytes", len(b))
	f.Pass(22 * time.Hour)
	h.update()
	d := lastDetails(t, f)
	if d == nil {
		t.Fatal("after a day the details are not sent again")
	}
	b, err = json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("details have %d bytes", len(b))
	h.update()
	if d := lastDetails(t, f); d != nil {
		t.Errorf("sent twice in a day: %+v", d)
	}
	o := options(t, f, "web01")
	o.Force = true
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	h.update()
	if d := lastDetails(t, f); d == nil {
		t.Error("a server that may know nothing of this host is told no details")
	}
	f.Publish() // the snapshot is another, the package is not
	h.update()
	h.update()
	if d := lastDetails(t, f); d == nil || d.Snapshot != schema.DigestOf(f.Files["3.snapshot.json"]) {
		t.Errorf("after a release for others: %+v", d)
	}
}

func TestAReportListsIgnoredSignaturesAndTheLogOfTheFailure(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	thief := trusttest.NewKey()
	p := version(f, "two")
	p.Signers = []trusttest.Key{thief}
	f.Give("web01", p)
	h.refused("No valid signature found")
	d := lastDetails(t, f)
	if d == nil || len(d.Ignored) != 1 || !strings.Contains(d.Ignored[0].Key, thief.ID()[:16]) ||
		!strings.Contains(d.Ignored[0].Reason, "not accepted by this host") {
		t.Fatalf("ignored %+v", d)
	}
	log := h.reads("/var/lib/bakehouse/agent.log")
	if d.LogTail == "" || len(d.LogTail) > schema.MaxLogTail || !strings.Contains(log, d.LogTail) ||
		!strings.Contains(d.LogTail, "decided: install: release 2") ||
		!strings.Contains(d.LogTail, "No valid signature found") {
		t.Errorf("the log's tail is %q", d.LogTail)
	}
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil {
		t.Error("accepted")
	}
	if again := lastDetails(t, f); again != nil {
		t.Errorf("the same failure is sent again: %+v", again)
	}
	p = version(f, "three")
	p.Signers = []trusttest.Key{f.Package, thief}
	f.Give("web01", p)
	h.update()
	if d := lastDetails(t, f); d == nil || len(d.Ignored) != 1 || d.LogTail != "" {
		t.Errorf("after a success: %+v", d)
	}
}

// A server that echoes the host's secret does not get it to another one by the host's report.
func TestALogTailIsBoundedAndHasNoSecret(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	secret := h.stateOf().Registration.Secret
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(schema.Problem{Error: "no " + secret})
		return true
	})
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil {
		t.Fatal("no error")
	}
	f.Bend(nil)
	h.update() // polls with the failure's report
	reports := f.Reports()
	b, err := json.Marshal(reports[len(reports)-2].Report.Details)
	if err != nil || !bytes.Contains(b, []byte("no (hidden)")) || bytes.Contains(b, []byte(secret)) {
		t.Errorf("%s, %v", b, err)
	}
}
