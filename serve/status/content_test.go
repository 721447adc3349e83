package status

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// everyPage is where all kinds of pages are.
func everyPage(e *example) []string {
	return []string{"/", "/hosts", "/hosts/" + e.All.Host.Name, "/releases", "/releases/1042",
		"/packages/" + e.All.Package.SHA256.Hex(), "/hosts/nobody", "/hosts?sort=nonsense", "/releases/01"}
}

func (d *desk) example() *example { return d.data.(*example) }

var inline = regexp.MustCompile(`(?i)<[^>]*\s(style|on[a-z]+)\s*=|<style|javascript:|<script[^>]*>[^<]`)

func TestNoPageHasAnythingThatItsPolicyForbids(t *testing.T) {
	d := newDesk(t).in("mia")
	d.data = eventful()
	d.example().All.Overview.Off, d.example().All.Overview.Trouble = true, "it does not verify"
	for _, path := range everyPage(d.example()) {
		body := text(t, d.get(path))
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s: %q", path, found)
		}
		if strings.Contains(body, "http://") || regexp.MustCompile(`(src|href)="(https?:)?//`).MatchString(body) {
			t.Errorf("%s asks another server: %s", path, body)
		}
	}
	if found := inline.FindString(text(t, newDesk(t).get("/"))); found != "" {
		t.Errorf("sign-in: %q", found)
	}
}

// What a host says is shown to people who may do much.
func TestWhatAHostSaysIsTextAndNothingElse(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>` + "\u202etxt.exe\u2066\x1b[31m\x00\u200b" +
		` {{.User}} javascript:alert(1)`
	d := newDesk(t).in("mia")
	e := d.example()
	long := evil + strings.Repeat("x", 5000) + "the end"
	for i := range e.Page.Hosts {
		r := &e.Page.Hosts[i]
		r.Error, r.Why, r.Program = long, long, evil
	}
	h := &e.All.Host
	h.Row.Error, h.Report.Error, h.Report.Details.LogTail, h.Program = long, long, long, evil
	h.Keys = []schema.KeyState{{Name: evil, State: evil}}
	h.History = []view.Change{{At: noon, State: hosts.Failed, Text: long}}
	h.Machines[0].ID, h.Machines[0].Address = evil, evil
	h.Report.Details.Ignored = nil
	e.Page.Query.Q = evil
	for _, path := range []string{"/hosts", "/hosts/" + h.Name} {
		body := want(t, d.get(path), 200, "&lt;script&gt;alert(1)")
		for _, bad := range []string{"<script>alert", "<img", "\u2066", "\x1b", "\x00", "mia javascript"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		if i := strings.Index(body, "\u202e"); i >= 0 {
			t.Errorf("%s changes the direction of what follows: %q", path, body[max(0, i-80):i+40])
		}
		if strings.Contains(body, strings.Repeat("x", 4200)) {
			t.Errorf("%s is as long as a host likes", path)
		}
	}
	if rows := text(t, d.get("/hosts")); strings.Contains(rows, strings.Repeat("x", 300)) {
		t.Error("a row is as long as a host likes")
	}
}

func TestAPageIsSentAgainOnlyIfItChanged(t *testing.T) {
	d := newDesk(t).in("mia")
	e := d.example()
	for i := range e.All.Overview.Sites {
		e.All.Overview.Sites[i].Contact = noon.Add(-3 * time.Hour)
	}
	r := d.get("/")
	body := want(t, r, 200)
	tag := r.Header.Get("ETag")
	if r.Header.Get("Cache-Control") != "private, no-cache" || tag == "" {
		t.Errorf("%v", r.Header)
	}
	if got := d.get("/", "If-None-Match", tag); got.StatusCode != 304 || text(t, got) != "" {
		t.Errorf("%d", got.StatusCode)
	}
	want(t, d.get("/", "If-None-Match", `"another", `+strings.TrimPrefix(tag, "W/")), 304)
	z := d.get("/", "Accept-Encoding", "gzip", "If-None-Match", `W/"another"`)
	if z.StatusCode != 200 || z.Header.Get("ETag") != tag || z.Header.Get("Content-Encoding") != "gzip" ||
		z.Header.Get("Vary") == "" || z.ContentLength >= int64(len(body))/2 {
		t.Errorf("%d %v", z.StatusCode, z.Header)
	}
	// The time of the page alone is no change; another age is.
	e.All.Overview.At = e.All.Overview.At.Add(time.Second)
	want(t, d.get("/", "If-None-Match", tag), 304)
	e.All.Overview.At = e.All.Overview.At.Add(2 * time.Hour)
	want(t, d.get("/", "If-None-Match", tag), 200)
}

func TestTheTwinOfAPageIsWhatItShowsForASessionOrAPassword(t *testing.T) {
	d := newDesk(t)
	auth := func(user, password string) []string {
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	want(t, d.get("/status.json"), 401, `"error":"wrong user or password"`)
	want(t, d.get("/status.json", auth("mia", "wrong")...), 401)
	want(t, d.get("/status.json", auth("installer", password)...), 403, `lacks the permission view`)
	for _, path := range everyPage(d.example())[:6] {
		u, _ := url.Parse(path)
		r := d.get(twinOf(u), auth("mia", password)...)
		var head view.Head
		err := json.Unmarshal([]byte(want(t, r, 200)), &head)
		if err != nil || head.Fleet != "harbour" || head.Schema != 1 {
			t.Errorf("%s: %+v %v", path, head, err)
		}
	}
	want(t, d.get("/hosts/nobody.json", auth("mia", password)...), 404, `{"error":"not found"}`)
	if len(d.people.sessions) != 0 {
		t.Error("a request with a password begins a session")
	}
	d.in("mia")
	want(t, d.get("/hosts.json?q=web"), 200, `"matched":24120`)
	want(t, d.get("/hosts.json?q=web", auth("mia", "wrong")...), 401) // what is said counts
	d.people.wait = time.Second
	want(t, d.get("/status.json", auth("mia", "wrong")...), 429)
}

func TestWhatAUserMayNotSeeDoesNotExist(t *testing.T) {
	d := newDesk(t).in("web")
	e := d.example()
	e.All.Host.Name = "db01"
	missing := want(t, d.get("/hosts/nobody"), 404)
	if got := want(t, d.get("/hosts/db01"), 404); got != missing {
		t.Errorf("a host of others is told apart: %s", got)
	}
}

func TestThePackageIsForWhoMayDownload(t *testing.T) {
	d := newDesk(t).in("mia")
	path := "/hosts/" + d.example().All.Host.Name
	if body := want(t, d.get(path), 200); strings.Contains(body, "/package\"") {
		t.Error("whoever may not download is shown a link")
	}
	mia := may("~.*")
	mia.Permissions[schema.PermDownload] = []string{"~web.*"}
	d.people.users["mia"] = mia
	want(t, d.get(path), 200, `href="`+path+`/package"`)
}

func TestSpreadsheetsTakeNothingOfAHostForAFormula(t *testing.T) {
	d := newDesk(t).in("mia")
	e := d.example()
	e.Page.Next = ""
	e.Page.Hosts[0].Error = `=HYPERLINK("https://evil.example")`
	e.Page.Hosts[1].Error = "+1"
	e.Page.Hosts[2].Error = "-2\n@3"
	e.Page.Hosts[3].Error = "@sum"
	rows, err := csv.NewReader(strings.NewReader(want(t, d.get("/hosts.csv"), 200))).ReadAll()
	if err != nil || len(rows) != len(e.Page.Hosts)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
				t.Errorf("%q", cell)
			}
		}
	}
	if rows[1][12] != `'=HYPERLINK("https://evil.example")` {
		t.Errorf("%q", rows[1])
	}
}

func TestTheMasterSwitchAndTroubleAreOnEveryPage(t *testing.T) {
	d := newDesk(t).in("mia")
	e := d.example()
	for _, h := range []*view.Head{&e.All.Overview.Head, &e.Page.Head, &e.All.Host.Head, &e.All.Releases.Head,
		&e.All.Release.Head, &e.All.Package.Head} {
		h.Off, h.Trouble = true, "Timestamp 2319 does not verify."
	}
	for _, path := range everyPage(e)[:6] {
		want(t, d.get(path), 200, "Updates are off for the whole fleet", "Timestamp 2319 does not verify.")
	}
}

func TestAFleetWithoutHostsOrRegistrationsIsToldHowToBegin(t *testing.T) {
	d := newDesk(t).in("mia")
	e := d.example()
	o := &e.All.Overview
	for i := range o.Tally.States {
		o.Tally.States[i].Hosts = 0
	}
	for i, s := range o.Tally.States {
		if s.State == hosts.Unregistered {
			o.Tally.States[i].Hosts = 3
		}
	}
	o.Tally.Total = 3
	want(t, d.get("/"), 200, "is ready for 3 hosts; none has registered")
	o.Tally = view.Tally{}
	want(t, d.get("/"), 200, "Nothing is published yet", "bakehouse")
	e.Page.Hosts = nil
	e.Page.Query = hosts.Query{Q: "wbe", Ring: []string{"canary"}}
	want(t, d.get("/hosts?q=wbe&ring=canary"), 200, "No host matches wbe, ring canary", `href="/hosts?q=wbe"`)
}

func TestFiltersAreLinksThatKeepTheOthers(t *testing.T) {
	d := newDesk(t).in("mia")
	d.data = eventful()
	d.example().Page.Query = hosts.Query{Q: "web", Ring: []string{"broad"}, State: []string{"failed"}, Sort: "-check"}
	want(t, d.get("/hosts"), 200,
		`href="/hosts?q=web&amp;state=rejected&amp;ring=broad&amp;sort=-check"`,      // another state
		`href="/hosts?q=web&amp;ring=broad&amp;sort=-check"`,                         // all states
		`href="/hosts?q=web&amp;state=failed&amp;ring=broad,canary&amp;sort=-check"`, // a further ring
		`href="/hosts?q=web&amp;state=failed&amp;sort=-check"`,                       // the ring taken away
		`href="/hosts?state=failed&amp;ring=broad&amp;sort=-check"`,                  // the search taken away
		`href="/hosts?q=web&amp;state=failed&amp;ring=broad&amp;sort=check"`,         // the other way round
		`<th scope="col" aria-sort="descending"`,
		`<input type="hidden" name="ring" value="broad">`)
}

func TestNumbersTimesAndSharesAreWrittenAsTheSpecificationSays(t *testing.T) {
	for got, want := range map[string]string{
		number(0): "0", number(999): "999", number(1000): "1,000", number(-1234567): "-1,234,567",
		percent(0, 5): "0 %", percent(5, 5): "100 %", percent(1, 100000): "< 0.1 %", percent(99999, 100000): "> 99.9 %",
		percent(717, 1000): "71.7 %", percent(0, 0): "0 %",
		span(89 * time.Second): "89 s", span(90 * time.Second): "2 min", span(89 * time.Minute): "89 min",
		span(90 * time.Minute): "2 h", span(35 * time.Hour): "35 h", span(36 * time.Hour): "2 days",
		relative(noon, noon.Add(23*time.Hour)): "in 23 h", relative(noon, noon.Add(-time.Hour)): "60 min ago",
		string(when(noon, time.Time{}, "")): "never",
		size(812):                           "812 B", size(21_800_000): "21.8 MB", size(999_960): "1.0 MB",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAPartThatIsNotZeroIsSeenAndAllPartsFillTheBar(t *testing.T) {
	for _, counts := range [][]int{{1, 99999, 1, 0, 1}, {5}, {1, 1}, {0, 0}, {100, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		{10, 1000}} {
		total, sum := 0, 0.0
		for _, c := range counts {
			total += c
		}
		for i, w := range widths(counts, total) {
			if (counts[i] > 0) != (w >= leastPart*.999) || counts[i] == 0 && w != 0 {
				t.Errorf("%v: %v", counts, widths(counts, total))
			}
			sum += w
		}
		if total > 0 && (sum < 99.9 || sum > 100.1) {
			t.Errorf("%v fill %.2f %%: %v", counts, sum, widths(counts, total))
		}
	}
}

// An hour of a fleet of 100,000 is 120 points at most, and each page fits into 60 KB.
func TestPagesOfALargeFleetAreSmall(t *testing.T) {
	d := newDesk(t).in("mia")
	d.data = large()
	sum := len(assets["style.css"].plain) + len(assets["page.js"].plain)
	for path, more := range map[string]int{"/": sum, "/hosts": 0} {
		if n := len(want(t, d.get(path), 200)) + more; n > 60<<10 {
			t.Errorf("%s: %d bytes", path, n)
		} else {
			t.Logf("%s: %d bytes", path, n)
		}
	}
}

// large is a page of 100 hosts, with the names and errors of a large fleet.
func large() *example {
	e := eventful()
	rows := e.Page.Hosts
	e.Page.Hosts = nil
	for i := range 100 {
		r := rows[i%len(rows)]
		r.Name = fmt.Sprintf("web%04d.muc.example.com", i)
		e.Page.Hosts = append(e.Page.Hosts, r)
	}
	return e
}

func BenchmarkPages(b *testing.B) {
	d := newDesk(b).in("mia")
	d.data = large()
	for _, path := range []string{"/", "/hosts", "/hosts/" + d.example().All.Host.Name} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if r := d.get(path, "Accept-Encoding", "gzip"); r.StatusCode != 200 {
					b.Fatal(r.Status)
				} else {
					_, _ = io.Copy(io.Discard, r.Body)
				}
			}
		})
	}
}
