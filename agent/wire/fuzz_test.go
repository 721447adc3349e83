package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bakehouse/agent/trust/statement"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
)

// replies is a server in memory that always says the same.
type replies struct {
	status int
	header http.Header
	body   []byte
}

func (r replies) RoundTrip(q *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: r.status, Header: r.header.Clone(),
		Body: io.NopCloser(bytes.NewReader(r.body)), Request: q}, nil
}

// FuzzSegmentAnswer takes any answer for a segment: what is copied begins where it was asked for, or at the start, and
// is never longer than the segment by more than the byte that shows it.
func FuzzSegmentAnswer(f *testing.F) {
	content := []byte("a segment of a package")
	size := int64(len(content))
	f.Add(int64(0), uint16(0), "", content)
	f.Add(int64(5), uint16(6), fmt.Sprintf("bytes 5-%d/%d", size-1, size), content[5:])
	f.Add(int64(5), uint16(6), "bytes 0-3/4", content)
	f.Add(int64(5), uint16(216), "bytes */5", []byte(nil))
	f.Fuzz(func(t *testing.T, offset int64, status uint16, ranges string, body []byte) {
		if offset < 0 || offset > size {
			return
		}
		c, err := New(Config{Server: "https://bakehouse.example"})
		if err != nil {
			t.Fatal(err)
		}
		c.http.Transport = replies{200 + int(status)%400, http.Header{"Content-Range": {ranges}}, body}
		s, err := c.Segment(t.Context(), schema.DigestOf(content), size, offset, nil)
		if err != nil {
			return
		}
		defer s.Body.Close()
		var got bytes.Buffer
		err = s.Copy(&got)
		if s.Offset != 0 && s.Offset != offset {
			t.Errorf("begins at %d, asked from %d", s.Offset, offset)
		}
		if n := s.Offset + int64(got.Len()); n > size+1 || (err == nil) != (n >= size) {
			t.Errorf("%d of %d bytes and error %v", n, size, err)
		}
	})
}

// FuzzLocation takes a redirect anywhere: only the origins that policy names are asked, whatever the URL looks like.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"https://cdn.example/x?y#z", "https://cdn.example@evil.example/", "//cdn.example", "/x",
		"https://CDN.example:443", "https://cdn.example:443@evil/", "https://cdn.example\\@evil.example",
		"https:cdn.example", "https://cdn.example%2fevil", "https://[::1%25en0]:9", "HTTPS://cdn.example/%zz"} {
		f.Add(s)
	}
	p := &schema.Policy{Downloads: &schema.Downloads{Certificates: "x",
		Origins: []string{"https://cdn.example", "https://[2001:db8::1]:9443"}}}
	u := &url.URL{Scheme: "https", Host: "bakehouse.example:8443", Path: schema.SegmentPath}
	f.Fuzz(func(t *testing.T, s string) {
		to := location(&http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {s}},
			Request: &http.Request{URL: u}})
		if to == nil {
			return
		}
		if at := place(to); strings.ContainsFunc(at, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Errorf("%q cannot be printed", at)
		}
		if _, ok := p.Origin(to); !ok {
			return
		}
		r, err := http.NewRequest(http.MethodGet, place(to)+to.RequestURI(), nil)
		if err != nil {
			return
		}
		host := strings.ToLower(r.URL.Hostname())
		if r.URL.Scheme != "https" || r.URL.User != nil ||
			host != "cdn.example" && host != "2001:db8::1" {
			t.Errorf("%q is asked for by %q", r.URL, s)
		}
	})
}

// FuzzPackageAnswer takes a server's answer apart and judges each statement.
func FuzzPackageAnswer(f *testing.F) {
	key := trusttest.NewKey()
	for _, s := range []string{"", "[]", "null", "{}", `{"statements":[null]}`, `{"manifest":"AwA=","against":"` +
		schema.DigestOf([]byte("the manifest before")).String() + `"}`,
		`{"manifest":"eA==","statements":[[]]}`,
		`{"statements":[{"payloadType":"` + schema.StatementType + `","payload":"e30=",` +
			`"signatures":[{"keyid":"` + key.ID() + `","sig":"AA=="}]}]}`} {
		f.Add([]byte(s))
	}
	want := schema.Statement{Package: schema.DigestOf(nil), Manifest: schema.DigestOf(nil), Anchor: schema.DigestOf(nil),
		Recipe: "0123456789abcdef", Format: schema.Tgz}
	f.Fuzz(func(t *testing.T, b []byte) {
		old := []byte("the manifest before")
		for _, held := range []*HeldManifest{nil, {schema.DigestOf(nil), nil}, {schema.DigestOf(old), old}} {
			if p, err := decodePackage(b, schema.DigestOf([]byte("x")), held); err == nil && len(p.Manifest) > len(b) {
				t.Errorf("a manifest of %d bytes in %d", len(p.Manifest), len(b))
			}
		}
		p, err := decodePackage(b, schema.DigestOf(nil), nil)
		if err != nil {
			return
		}
		accepted := []schema.AcceptedKey{{Name: "release", Public: key.PEM()}}
		if names, err := statement.Verify(p.Statements, want, accepted, 1); err == nil {
			t.Errorf("accepted by %q", names)
		} else if !fault.IsRefusal(err) || !strings.HasSuffix(err.Error(), "No valid signature found") {
			t.Errorf("%v", err)
		}
	})
}

// FuzzPollAnswer unpacks whatever a poll brings, for a host that holds a file: nothing is longer than its bound.
func FuzzPollAnswer(f *testing.F) {
	held := []byte(`{"signed":{"_type":"snapshot","version":3}}`)
	difference, err := delta.Deflate([]byte(`{"signed":{"_type":"snapshot","version":4}}`), held)
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range []schema.PollFile{{Data: held}, {Data: held, Gzip: true}, {Data: difference, Against: 3},
		{Data: difference, Against: 2}, {Data: difference, Against: 3, Gzip: true}, {}} {
		file.Name = "4.snapshot.json"
		b, err := json.Marshal(schema.PollAnswer{Schema: 1, Root: 1, Files: []schema.PollFile{file, file}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"files":null}`))
	f.Add([]byte(`{"files":[{"name":"4.snapshot.json","data":"eA==","against":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a schema.PollAnswer
		if schema.Decode(b, &a) != nil {
			return
		}
		const limit = 1 << 12
		for _, name := range []string{"4.snapshot.json", "", "timestamp.json"} {
			for _, old := range [][]byte{held, nil} {
				if got := (Source{Files: a.Files}).Offered(name, 3, old, limit); len(got) > limit {
					t.Errorf("%q unpacks to %d bytes", name, len(got))
				}
			}
		}
	})
}

// FuzzProblem takes any answer to a poll: it is news, nothing new, or an error of one line in plain text that is of a
// Bakehouse server, or unreachable.
func FuzzProblem(f *testing.F) {
	f.Add(uint16(0), "application/json", "", []byte(`{"schema":1,"root":1}`))
	f.Add(uint16(201), "application/json", "", []byte(`{"error":"no","hint":"ask"}`))
	f.Add(uint16(204), "text/html", "", []byte("<html>"))
	f.Add(uint16(102), "text/\x1b[2Jhtml; charset=\"", "https://login.example/?token=s3cret", []byte(nil))
	f.Fuzz(func(t *testing.T, status uint16, media, to string, body []byte) {
		c, err := New(Config{Server: "https://bakehouse.example"})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Content-Type": {media}}
		if to != "" {
			h.Set("Location", to)
		}
		s := 200 + int(status)%400
		c.http.Transport = replies{s, h, body}
		a, err := c.Poll(t.Context(), schema.PollRequest{})
		if err == nil {
			if a == nil != (s == http.StatusNoContent) || a != nil && a.Schema != 1 {
				t.Errorf("%d: %+v", s, a)
			}
			return
		}
		text := err.Error() + fault.HintOf(err)
		if strings.ContainsAny(text, "\x1b\r\x00") || len(text) > 4000 {
			t.Errorf("%d: %q", s, text)
		}
		var p schema.Problem
		ours := schema.Decode(body, &p) == nil && p.Error != ""
		if !ours && !errors.Is(err, ErrUnreachable) && !fault.IsRefusal(err) {
			t.Errorf("%d %q: %v is taken for a Bakehouse server's", s, body, err)
		}
	})
}
