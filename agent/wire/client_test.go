package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
)

// asked is a client of a server in memory.
func asked(t *testing.T, s http.RoundTripper) *Client {
	t.Helper()
	c, err := New(Config{Server: "https://bakehouse.example/", User: "web01", Password: "s3cret", Program: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = s
	return c
}

func redirect(to string) replies { return replies{status: 302, header: http.Header{"Location": {to}}} }

func TestErrorsFallIntoClasses(t *testing.T) {
	classes := map[string]error{"unreachable": ErrUnreachable, "denied": ErrDenied,
		"not found": fs.ErrNotExist, "malformed": ErrMalformed}
	page := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	const foreign = "malformed,unreachable"
	ours := func(status int) replies { return replies{status: status, body: []byte(`{"error":"no"}`)} }
	for name, c := range map[string]struct {
		reply replies
		class string // and others, after commas
		says  string
	}{
		"overloaded":         {ours(503), "unreachable", ""},
		"too many requests":  {ours(429), "unreachable", ""},
		"unknown secret":     {ours(401), "denied", ""},
		"not for this host":  {ours(403), "denied", ""},
		"absent":             {ours(404), "not found", ""},
		"another schema":     {replies{status: 200, body: []byte(`{"schema":1,"root":"one"}`)}, foreign, ""},
		"a page of a portal": {replies{status: 200, body: []byte("<html>"), header: page}, foreign, "(text/html)"},
		"an empty page":      {replies{status: 200}, foreign, ""},
		"garbage for gzip": {replies{status: 200, body: []byte("x"), header: http.Header{"Content-Encoding": {"gzip"}}},
			foreign, ""},
		"bad request": {replies{status: 400, body: []byte(`{"error":"no","hint":"ask\u001b[2J again"}`)}, "", "no"},
		"redirected":  {redirect("https://elsewhere.example/x?token=t"), "unreachable", "which is not followed"},
		"a web server's page for what it lacks": {replies{status: 404, body: []byte("<h1>x</h1>"), header: page},
			"unreachable", "404 Not Found (text/html), which is not an answer of a Bakehouse server"},
		"a proxy that wants a login": {replies{status: 401, body: []byte("<html>"), header: page}, "unreachable",
			"401 Unauthorized (text/html)"},
		"a firewall's page":    {replies{status: 403, header: page}, "unreachable", "403 Forbidden (text/html)"},
		"JSON of another":      {replies{status: 404, body: []byte(`{"message":"no"}`)}, "unreachable", "which is"},
		"a bad gateway":        {replies{status: 502, body: []byte("<html>"), header: page}, "unreachable", "which is"},
		"a status of nobody's": {replies{status: 299}, "unreachable", "which is"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := asked(t, c.reply).Poll(t.Context(), schema.PollRequest{})
			if err == nil {
				t.Fatal("no error")
			}
			for class, is := range classes {
				if errors.Is(err, is) != slices.Contains(strings.Split(c.class, ","), class) {
					t.Errorf("%v: %s is %v", err, class, errors.Is(err, is))
				}
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			other := strings.Contains(err.Error(), "Bakehouse") || strings.Contains(err.Error(), "not followed")
			if other != strings.Contains(fault.HintOf(err), "something else answers at https://bakehouse.example") {
				t.Errorf("%v; hint %q", err, fault.HintOf(err))
			}
			var status *StatusError
			if c.reply.status != 200 && (!errors.As(err, &status) || status.Status != c.reply.status) {
				t.Errorf("%v has no status", err)
			}
			if text := err.Error() + fault.HintOf(err); strings.Contains(text, "token") || strings.Contains(text, "\x1b") {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestAnAnswerIsUnderstoodInTheVersionsThatWereAskedFor(t *testing.T) {
	for _, c := range []struct {
		speaks  schema.Versions
		answers int
		ok      bool
	}{
		{schema.Versions{Min: 1, Max: 1}, 1, true}, {schema.Versions{Min: 1, Max: 1}, 2, false},
		{schema.Versions{Min: 2, Max: 4}, 1, false}, {schema.Versions{Min: 2, Max: 4}, 2, true},
		{schema.Versions{Min: 2, Max: 4}, 4, true}, {schema.Versions{Min: 2, Max: 4}, 5, false},
		{schema.Versions{Min: 1, Max: 1}, 0, false}, {schema.Versions{Min: 1, Max: 1}, -1, false},
	} {
		var sent struct{ Schema schema.Versions }
		client := asked(t, &roundTrips{answer: func(r *http.Request) replies {
			b, err := io.ReadAll(r.Body)
			if err != nil || json.Unmarshal(b, &sent) != nil || sent.Schema != c.speaks {
				t.Errorf("asked %s, %v; want %v", b, err, c.speaks)
			}
			return replies{status: 200, body: fmt.Appendf(nil, `{"schema":%d,"secret":"s"}`, c.answers)}
		}})
		client.speaks = c.speaks
		a, perr := client.Poll(t.Context(), schema.PollRequest{})
		r, rerr := client.Register(t.Context(), schema.RegisterRequest{})
		for what, err := range map[string]error{"poll": perr, "register": rerr} {
			if (err == nil) != c.ok || !c.ok && !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: asked in %s, answered in %d: %v", what, c.speaks, c.answers, err)
			}
		}
		if !c.ok && (a != nil || r != nil) {
			t.Errorf("%v, %v", a, r)
		}
	}
}

func TestAPollWithoutNewsHasNoAnswer(t *testing.T) {
	if a, err := asked(t, replies{status: 204}).Poll(t.Context(), schema.PollRequest{}); a != nil || err != nil {
		t.Errorf("%v, %v", a, err)
	}
}

// A small answer may inflate without end.
func TestAnAnswerThatIsTooLongIsRefusedHoweverItIsPacked(t *testing.T) {
	long := bytes.Repeat([]byte("x"), schema.MaxPackageAnswer+1)
	for name, r := range map[string]replies{
		"plain":   {status: 200, body: long},
		"gzipped": {status: 200, body: gzipped(t, long), header: http.Header{"Content-Encoding": {"gzip"}}},
	} {
		if _, err := asked(t, r).Package(t.Context(), schema.DigestOf(nil), nil); !fault.IsRefusal(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecretThatCannotBeKeptIsMalformed(t *testing.T) {
	register := func(body string) (*schema.RegisterAnswer, error) {
		c := asked(t, replies{status: 201, body: []byte(body)})
		return c.Register(t.Context(), schema.RegisterRequest{})
	}
	for _, body := range []string{`{}`, `{"secret":"s"}`, `{"schema":1}`, `{"schema":1,"secret":"a\nb"}`,
		`{"schema":1,"secret":"` + strings.Repeat("s", 1025) + `"}`} {
		if _, err := register(body); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.40s: %v", body, err)
		}
	}
	if a, err := register(`{"schema":1,"secret":"s","site":"muc"}`); err != nil || a.Secret != "s" || a.Site != "muc" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWhatAPackageIsCheckedByIsManifestAndEnvelopes(t *testing.T) {
	get := func(body string, isHeld bool) (*Package, error) {
		var held *HeldManifest
		if isHeld {
			held = &HeldManifest{Digest: schema.DigestOf(nil)}
		}
		return asked(t, replies{status: 200, body: []byte(body)}).Package(t.Context(), schema.DigestOf(nil), held)
	}
	for _, c := range []struct {
		body       string
		held       bool
		statements int // -1: malformed
	}{
		{`{"manifest":"eA==","statements":[{"a":1},{"b":2}]}`, false, 2},
		{`{"manifest":"eA==","statements":[]}`, false, 0}, {`{"manifest":"eA=="}`, false, 0},
		{`{"statements":[{"a":1}]}`, true, 1}, {`{"statements":[{"a":1}]}`, false, -1},
		{`{"manifest":"eA==","against":"` + schema.DigestOf([]byte("x")).String() + `","statements":[]}`, false, -1},
		{`{"manifest":"~","statements":[]}`, true, -1}, {`{"statements":{}}`, true, -1}, {``, true, -1},
		{`[]`, true, -1},
		{`{"statements":[` + strings.Repeat(`"x",`, schema.MaxStatement/2) + `1]}`, true, -1},
	} {
		p, err := get(c.body, c.held)
		if c.statements < 0 {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%.60s: %v", c.body, err)
			}
			continue
		}
		if err != nil || len(p.Statements) != c.statements || !c.held && string(p.Manifest) != "x" {
			t.Errorf("%.60s: %+v, %v", c.body, p, err)
		}
	}
}

func TestADifferenceOfManifestsIsCheckedAndFetchedWholeIfItIsWrong(t *testing.T) {
	file, old := bytes.Repeat([]byte("the new manifest"), 50), bytes.Repeat([]byte("the old manifest"), 50)
	held := &HeldManifest{Digest: schema.DigestOf(old), Inflated: old}
	difference, err := delta.Deflate(file, old)
	if err != nil {
		t.Fatal(err)
	}
	whole := schema.PackageAnswer{Manifest: gzipped(t, file)}
	for name, c := range map[string]struct {
		answer   schema.PackageAnswer
		requests int // 0: malformed
	}{
		"right":              {schema.PackageAnswer{Manifest: difference, Against: held.Digest}, 1},
		"whole all the same": {whole, 1},
		"of other bytes":     {schema.PackageAnswer{Manifest: difference[:len(difference)/2], Against: held.Digest}, 2},
		"garbage":            {schema.PackageAnswer{Manifest: []byte("garbage"), Against: held.Digest}, 2},
		"empty":              {schema.PackageAnswer{Against: held.Digest}, 2},
		"of another one":     {schema.PackageAnswer{Manifest: difference, Against: schema.DigestOf(file)}, 0},
	} {
		r := &roundTrips{answer: func(q *http.Request) replies {
			a := c.answer
			if q.Header.Get(schema.HaveManifest) != held.Digest.Hex() {
				a = whole
			}
			b, err := json.Marshal(a)
			if err != nil {
				t.Error(err)
			}
			return replies{status: 200, body: b}
		}}
		p, err := asked(t, r).Package(t.Context(), schema.DigestOf(file), held)
		if c.requests == 0 {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(r.asked) != c.requests {
			t.Errorf("%s: %v after %d requests", name, err, len(r.asked))
			continue
		}
		z, err := gunzip(bytes.NewReader(p.Manifest), int64(len(file)))
		if err != nil || !bytes.Equal(z, file) {
			t.Errorf("%s: %d bytes, %v", name, len(z), err)
		}
	}
}

func TestAFileThatAPollBroughtIsUnpackedWithinItsBoundOrNotAtAll(t *testing.T) {
	file, old := bytes.Repeat([]byte("new content; "), 100), bytes.Repeat([]byte("old content; "), 100)
	difference, err := delta.Deflate(file, old)
	if err != nil {
		t.Fatal(err)
	}
	packed := gzipped(t, file)
	for name, c := range map[string]struct {
		file schema.PollFile
		want bool
	}{
		"whole":                 {schema.PollFile{Data: file}, true},
		"gzip":                  {schema.PollFile{Data: packed, Gzip: true}, true},
		"difference":            {schema.PollFile{Data: difference, Against: 3}, true},
		"difference to another": {schema.PollFile{Data: difference, Against: 2}, false},
		"not gzip":              {schema.PollFile{Data: file, Gzip: true}, false},
		"half of a gzip":        {schema.PollFile{Data: packed[:len(packed)/2], Gzip: true}, false},
		"whole, too long":       {schema.PollFile{Data: append(file, 0)}, false},
		"gzip, too long":        {schema.PollFile{Data: gzipped(t, append(file, 0)), Gzip: true}, false},
		"a bomb": {schema.PollFile{
			Data: gzipped(t, make([]byte, 16<<20)), Gzip: true}, false},
		"nothing":                           {schema.PollFile{}, false},
		"difference to a version below one": {schema.PollFile{Data: difference, Against: -3}, false},
	} {
		c.file.Name = "4.snapshot.json"
		s := Source{Files: []schema.PollFile{{Name: "4.targets.json", Data: []byte("another")}, c.file}}
		got := s.Offered("4.snapshot.json", 3, old, int64(len(file)))
		if c.want != bytes.Equal(got, file) || !c.want && len(got) > 0 {
			t.Errorf("%s: %d bytes, want %v", name, len(got), c.want)
		}
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// roundTrips answers each request by its URL, and notes it.
type roundTrips struct {
	asked  []*http.Request
	answer func(*http.Request) replies
}

func (r *roundTrips) RoundTrip(q *http.Request) (*http.Response, error) {
	r.asked = append(r.asked, q)
	return r.answer(q).RoundTrip(q)
}

func TestASegmentIsAskedForFromAnOffsetAsTheUser(t *testing.T) {
	content := []byte("a segment of a package")
	r := &roundTrips{answer: func(q *http.Request) replies {
		return replies{206, http.Header{"Content-Range": {"bytes 5-21/22"}}, content[5:]}
	}}
	c := asked(t, r)
	s, err := c.Segment(t.Context(), schema.DigestOf(content), int64(len(content)), 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Body.Close()
	var got bytes.Buffer
	if err := s.Copy(&got); err != nil || s.Offset != 5 || s.From != "https://bakehouse.example" ||
		got.String() != string(content[5:]) {
		t.Errorf("%q from %d of %s, %v", &got, s.Offset, s.From, err)
	}
	user, password, _ := r.asked[0].BasicAuth()
	q := r.asked[0]
	if q.Header.Get("Range") != "bytes=5-" || user != "web01" || password != "s3cret" || q.UserAgent() != "test/1" {
		t.Errorf("asked with %v", q.Header)
	}
	if c.Fetched() != int64(len(content)-5) {
		t.Errorf("%d bytes are counted", c.Fetched())
	}
}

func TestNobodyFollowsARedirectWithoutOrigins(t *testing.T) {
	r := &roundTrips{answer: func(*http.Request) replies {
		return redirect("https://cdn.example/x")
	}}
	_, err := asked(t, r).Segment(t.Context(), schema.DigestOf(nil), 9, 0, nil)
	if !fault.IsRefusal(err) || !strings.Contains(err.Error(), "https://cdn.example") || len(r.asked) != 1 {
		t.Errorf("%v after %d requests", err, len(r.asked))
	}
	named := func(u *url.URL) (string, bool) { return "no PEM", u.Host == "cdn.example" }
	if _, err := asked(t, r).Segment(t.Context(), schema.DigestOf(nil), 9, 0, named); err == nil || len(r.asked) != 2 {
		t.Errorf("with certificates that are none: %v after %d requests", err, len(r.asked))
	}
}

func TestARegistrationWaitsForABusyServerAsLongAsThatSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		register := func(after string, busy int) (waits []time.Duration, took time.Duration, err error) {
			asks := 0
			c := asked(t, &roundTrips{answer: func(*http.Request) replies {
				if asks++; asks <= busy {
					return replies{status: 429, header: http.Header{"Retry-After": {after}}}
				}
				return replies{status: 200, body: []byte(`{"schema":1,"secret":"s"}`)}
			}})
			c.conf.Waiting = func(d time.Duration) { waits = append(waits, d) }
			began := time.Now()
			_, err = c.Register(t.Context(), schema.RegisterRequest{})
			return waits, time.Since(began), err
		}
		waits, took, err := register("7", 3)
		if err != nil || len(waits) != 3 || took < 21*time.Second || took > 42*time.Second {
			t.Errorf("after %v and %s: %v", waits, took, err)
		}
		for _, after := range []string{"", "0", "-1", "soon", "Sun, 29 Nov 2026 05:00:00 GMT", "99999999999999999999"} {
			if waits, _, err := register(after, 1); err == nil || len(waits) > 0 {
				t.Errorf("Retry-After %q: waited %v, %v", after, waits, err)
			}
		}
		if _, took, err := register("60", 1000); err == nil || took > mostPatience {
			t.Errorf("a server that is busy for good was asked for %s: %v", took, err)
		}
	})
}
