package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/fault"
)

// FuzzAnswers puts an answer of any kind in the place of one of the server's, in a whole update. The host neither
// panics nor installs anything, its state can be read afterwards, and what it says of the answer can be printed.
func FuzzAnswers(f *testing.F) {
	fl := testfleet.New(f)
	fl.Add("web01")
	h := newHost(f, fl)
	if _, err := h.Register(f.Context(), options(f, fl, "web01")); err != nil {
		f.Fatal(err)
	}
	p := version(fl, "two")
	fl.Give("web01", p)
	paths := []string{schema.PollPath, schema.MetadataPath, schema.TargetPath, schema.ManifestPath, schema.SegmentPath}
	answer, err := json.Marshal(schema.PollAnswer{Schema: 1, Root: 1, Files: stamped(fl.Head()),
		Hold: "a gate \x1b[2J", Site: "muc"})
	if err != nil {
		f.Fatal(err)
	}
	manifest, err := p.Manifest.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	files := []schema.PollFile{{Name: "timestamp.json", Data: fl.Head()}, {Name: "2.snapshot.json", Data: []byte("{}")},
		{Name: "2.targets.json", Data: []byte{3, 0}, Against: 1}, {Name: "2." + fl.Bin("web01") + ".json", Gzip: true}}
	brought, err := json.Marshal(schema.PollAnswer{Schema: 1, Root: 2, Files: files})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), uint16(200), "", "", brought)
	packed, err := json.Marshal(schema.PackageAnswer{Manifest: manifest, Against: schema.DigestOf(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(3), uint16(200), "", "", packed)
	for i, body := range [][]byte{answer, []byte(`{"schema":1,"root":9223372036854775807}`), []byte(`{"signed":{},"signatures":[]}`), []byte(`{"schema":1}`), manifest,
		[]byte(`[{"payloadType":"x","signatures":[{"keyid":"a","sig":"AA=="}]}]`), []byte("null"), nil} {
		f.Add(uint8(i), uint16(200), "", "", body)
		f.Add(uint8(i), uint16(200), "gzip", "", body)
	}
	f.Add(uint8(0), uint16(401), "", "", []byte(`{"error":"who\u202eare you","hint":"x"}`))
	f.Add(uint8(1), uint16(200), delta.Encoding, "", []byte{3, 0})
	f.Add(uint8(4), uint16(302), "", "https://cdn.example/x", []byte(nil))
	f.Add(uint8(4), uint16(206), "", "", []byte("x"))
	registered := []byte(h.reads(schema.StateDir(runtime.GOOS) + "/" + state.RecordFile))
	f.Fuzz(func(t *testing.T, which uint8, status uint16, encoding, location string, body []byte) {
		for _, dir := range []string{state.TrustDir(schema.Digest{}), packagesDir, segmentsDir} {
			if err := os.RemoveAll(h.files.Stored(dir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(h.files.Stored(state.RecordFile), registered, 0o600); err != nil {
			t.Fatal(err)
		}
		path := paths[int(which)%len(paths)]
		fl.Bend(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, path) {
				// Nothing is ever whole, so nothing may be installed.
				if strings.HasPrefix(r.URL.Path, schema.SegmentPath) {
					w.WriteHeader(http.StatusNotFound)
					return true
				}
				return false
			}
			if path == schema.SegmentPath && bytes.HasPrefix(p.Bytes, body) && len(body) > 1000 {
				body = nil
			}
			w.Header().Set("Content-Encoding", encoding)
			w.Header().Set("Location", location)
			w.Header().Set("Content-Range", location)
			w.WriteHeader(200 + int(status)%400)
			w.Write(body)
			return true
		})
		r, err := h.Update(t.Context(), UpdateOptions{})
		if err == nil && r.Package != nil {
			t.Errorf("%s is installed", r.Package)
		}
		if s := h.reads("/usr/bin/agent"); s != "absent" {
			t.Errorf("the host runs %q", s)
		}
		if _, err := h.files.Record(); err != nil {
			t.Error(err)
		}
		if strings.ContainsFunc(r.String(), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Errorf("%q cannot be printed", r)
		}
	})
}

// FuzzRegisterAnswer reads what a server answers to a registration.
func FuzzRegisterAnswer(f *testing.F) {
	fl := testfleet.New(f)
	fl.Add("web01")
	h := newHost(f, fl)
	o := options(f, fl, "web01")
	o.Force = true
	for _, body := range []string{
		`{"schema":1,"secret":"s","site":"muc"}`, `{"schema":1,"secret":"s\r\nX: y"}`,
		`{"schema":1,"secret":"` + strings.Repeat("s", 2000) + `"}`, `{"schema":1,"site":"../x","secret":"s"}`, `null`, `{`,
	} {
		f.Add(uint16(0), []byte(body))
		f.Add(uint16(201), []byte(body))
	}
	f.Fuzz(func(t *testing.T, status uint16, body []byte) {
		fl.Bend(func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(200 + int(status)%400)
			w.Write(body)
			return true
		})
		r, err := h.Register(t.Context(), o)
		if err != nil {
			return
		}
		s, err := h.files.Record()
		if err != nil {
			t.Fatal(err)
		}
		if s.Registration.Secret == "" || strings.ContainsAny(s.Registration.Secret, "\r\n\x00") || r.Site != "" && schema.CheckName(r.Site) != nil {
			t.Errorf("registered as %+v", s.Registration)
		}
	})
}

// FuzzStateFile reads a state file that anything may have happened to: what is read can be shown, reported and written.
func FuzzStateFile(f *testing.F) {
	for _, s := range []string{`{"schema":1}`, `{"schema":1,"registration":{"server":"https://x","host":"web01","secret":"s","certificates":["x"]},"failed":[1,2],"withheld":{"code":"expired"}}`,
		`{"schema":1,"installed":{"release":-1},"previous":null,"pending":{"attempts":9},"last":{"state":"held"},"lastCheck":"0001-01-01T00:00:00Z"}`, `{"schema":2}`, `null`} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	a, err := New(Options{Root: dir, Now: func() time.Time { return time.Unix(1800000000, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	if err := a.files.Create(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(a.files.Stored(state.RecordFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		status, err := a.Status()
		s, rerr := a.files.Record()
		if (err == nil) != (rerr == nil) {
			t.Fatalf("status: %v, state: %v", err, rerr)
		}
		if err != nil {
			if fault.HintOf(err) == "" {
				t.Errorf("%v, and no way out", err)
			}
			return
		}
		if err := status.Print(io.Discard); err != nil {
			t.Error(err)
		}
		h := a.files.Fresh()
		h.Record = s
		a.report(h, "https://bakehouse.example")
		s.Standing()
		s.MarkFailed(7, "why")
		a.prune(s)
		if err := a.files.Write(s); err != nil {
			return // a time of the year 10000 is read and cannot be written
		}
		if again, err := a.files.Record(); err != nil || again.WhyFailed(7) == "" {
			t.Errorf("written and not read: %v", err)
		}
	})
}

// FuzzSegmentAnswer resumes a download with whatever a server answers: what counts as the segment has its digest, and no
// more is ever written than it has bytes, and one.
func FuzzSegmentAnswer(f *testing.F) {
	content := []byte("a segment of a package")
	ref := schema.SegmentRef{Digest: schema.DigestOf(content), Size: int64(len(content))}
	f.Add([]byte{}, uint16(200), "", content)
	f.Add(content[:5], uint16(206), fmt.Sprintf("bytes 5-%d/%d", len(content)-1, len(content)), content[5:])
	f.Add(content[:5], uint16(206), "bytes 0-3/4", content)
	f.Add(content[:5], uint16(416), "bytes */5", []byte(nil))
	f.Add([]byte("something that is longer than the segment"), uint16(200), "", content)
	a, err := New(Options{Root: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	if err := os.MkdirAll(a.files.Stored(segmentsDir), 0o700); err != nil {
		f.Fatal(err)
	}
	name := a.files.Stored(segmentsDir, ref.Digest.Hex())
	var reply atomic.Pointer[func(http.ResponseWriter)]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (*reply.Load())(w) }))
	f.Cleanup(server.Close)
	c, err := wire.New(wire.Config{Server: server.URL, Proxy: schema.Proxy{Mode: "none"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	f.Fuzz(func(t *testing.T, have []byte, status uint16, ranges string, body []byte) {
		if err := errors.Join(os.WriteFile(name+partSuffix, have, 0o600), os.RemoveAll(name)); err != nil {
			t.Fatal(err)
		}
		answer := func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", ranges)
			w.WriteHeader(200 + int(status)%400)
			w.Write(body)
		}
		reply.Store(&answer)
		u := &update{Agent: a, client: c}
		err := u.segment(context.Background(), ref)
		got, _ := os.ReadFile(name)
		if (err == nil) != bytes.Equal(got, content) {
			t.Errorf("%v, and the segment is %q", err, got)
		}
		if fi, err := os.Stat(name + partSuffix); err == nil && fi.Size() > max(ref.Size+1, int64(len(have))) {
			t.Errorf("%d bytes of a segment of %d", fi.Size(), ref.Size)
		}
	})
}
