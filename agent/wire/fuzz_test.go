package wire

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"bakehouse/agent/trust/statement"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
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

// FuzzStatementList splits a server's list of statements and judges each.
func FuzzStatementList(f *testing.F) {
	key := trusttest.NewKey()
	for _, s := range []string{"", "[]", "null", "[null]", `[[]]`, `{}`,
		`[{"payloadType":"application/vnd.in-toto+json","payload":"e30=",` +
			`"signatures":[{"keyid":"` + key.ID() + `","sig":"AA=="}]}]`} {
		f.Add([]byte(s))
	}
	want := schema.Statement{Package: schema.DigestOf(nil), Manifest: schema.DigestOf(nil), Anchor: schema.DigestOf(nil),
		Recipe: "0123456789abcdef", Format: schema.Tgz}
	f.Fuzz(func(t *testing.T, b []byte) {
		envelopes, err := splitStatements(b)
		if err != nil {
			return
		}
		accepted := []schema.AcceptedKey{{Name: "release", Public: key.PEM()}}
		if names, err := statement.Verify(envelopes, want, accepted, 1); err == nil {
			t.Errorf("accepted by %q", names)
		} else if !fault.IsRefusal(err) || !strings.HasSuffix(err.Error(), "No valid signature found") {
			t.Errorf("%v", err)
		}
	})
}
