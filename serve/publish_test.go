package serve

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/publishing"
	"bakehouse/serve/store"
	"bakehouse/serve/store/remote"
)

var ci = caller{"ci", password}

// publishers gives the fleet a user who may publish, and one who may for some hosts only.
func publishers(t *testing.T) *fleet {
	f := newFleet(t)
	hash := f.access.Users["installer"].Hash
	f.access.Users["ci"] = schema.User{Hash: hash, Automation: true,
		Permissions: map[string][]string{schema.PermPublish: {publishing.AllHosts}}}
	f.access.Users["webci"] = schema.User{Hash: hash, Permissions: map[string][]string{schema.PermPublish: {"~web.*"}}}
	f.assign("web01", 1, f.bake("web01's first"))
	f.publish()
	return f
}

// through is the store behind the server, as ci reaches it.
func (w *site) through() store.Store {
	w.t.Helper()
	dir := w.t.TempDir()
	ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.http.Certificate().Raw})
	check(w.t, errors.Join(os.WriteFile(ca, block, 0o600), os.WriteFile(secret, []byte(password), 0o600)))
	q := url.Values{"user": {"ci"}, "password-file": {secret}, "ca": {ca}}
	s, err := remote.OpenWithin(w.http.URL+"?"+q.Encode(),
		remote.Limits{Header: 10 * time.Second, Stall: 10 * time.Second, Away: 10 * time.Second})
	check(w.t, err)
	return s
}

func TestAReleaseIsPublishedThroughTheServer(t *testing.T) {
	f := publishers(t)
	w := start(t, f)
	host := w.register("web01")
	s := w.through()
	second := f.bake("web01's second") // its statement is none, and stays out of this
	direct := f.store
	f.store = s
	f.create(schema.SegmentKey(schema.DigestOf([]byte(password))), []byte(password))
	f.assign("web01", 2, second)
	f.publish()
	f.store = direct
	check(t, w.server.releases.Follow(t.Context()))
	answer, r := w.poll(host, schema.PollRequest{})
	if r.status != http.StatusOK || !bytes.Contains(f.stampOf(answer, 0), []byte(`"version":2`)) {
		t.Errorf("the host is answered %d %s", r.status, r.body)
	}
	events, err := w.db.Events(t.Context(), time.Time{}, 10)
	check(t, err)
	if !slices.ContainsFunc(events, func(e inventory.Event) bool {
		return e.What == audit.Published && e.Who == "ci" && e.Detail == schema.TimestampKey(2)
	}) {
		t.Errorf("not in the audit log: %+v", events)
	}
	if head, err := store.Head(t.Context(), s); head != 2 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

func TestWhoMayNotPublishNeitherReadsNorWritesTheStore(t *testing.T) {
	f := publishers(t)
	w := start(t, f)
	host := w.register("web01")
	key := schema.TimestampKey(1)
	for name, c := range map[string]caller{"nobody": {}, "a host": host, "a user who registers": installer,
		"a user for some hosts": {"webci", password}, "a wrong password": {"ci", "wrong"}} {
		for _, path := range []string{remote.ObjectsPath + key, remote.ListPath, remote.NowPath, remote.StraysPath} {
			r := w.get(c, path)
			if !refused(r) || bytes.Contains(r.body, []byte("signed\":")) {
				t.Errorf("%s reads %s: %d %s", name, path, r.status, r.body)
			}
		}
		body := []byte("x")
		if r := w.put(c, schema.SegmentKey(schema.DigestOf(body)), body); !refused(r) {
			t.Errorf("%s writes: %d %s", name, r.status, r.body)
		}
	}
	_, err := f.store.Stat(t.Context(), schema.SegmentKey(schema.DigestOf([]byte("x"))))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("it is there: ", err)
	}
}

func refused(r reply) bool {
	return r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
}

// put sends an object as the client does, whatever the headers change in that; an empty one is left out.
func (w *site) put(c caller, key string, body []byte, headers ...string) reply {
	w.t.Helper()
	h := http.Header{}
	remote.SetDigest(h, schema.DigestOf(body))
	all := []string{"If-None-Match", "*", "Content-Digest", h.Get("Content-Digest")}
	return w.do(c, http.MethodPut, remote.ObjectsPath+key, body, append(all, headers...)...)
}

func TestAHostilePublisherTakesNoNumberAndAltersNothing(t *testing.T) {
	f := publishers(t)
	w := start(t, f)
	other := trusttest.NewFleet(time.Now(), fleetBins)
	other.Release()
	stamp, root := f.Files["timestamp.json"], f.Files["1.root.json"]
	stranger := func(version string) []byte {
		return bytes.Replace(other.Files["timestamp.json"], []byte(`"version":1`), []byte(`"version":`+version), 1)
	}
	segment, spaces := []byte("some segment"), bytes.Repeat([]byte(" "), schema.MaxTimestamp+1)
	ofSegment := schema.SegmentKey(schema.DigestOf(segment))
	second := bytes.Replace(other.Files["1.root.json"], []byte(`"version":1`), []byte(`"version":2`), 1)
	evil := []byte(`{"signed":{"_type":"targets","version":1},"signatures":[{}]}`)
	before := keysOf(t, f.store)
	manifest := schema.DigestOf([]byte("manifest"))
	for _, c := range []struct {
		name, key string
		body      []byte
		headers   []string
		want      int
	}{
		{"overwrites the timestamp", schema.TimestampKey(1), stranger("1"), nil, 412},
		{"overwrites a role file", "metadata/1.snapshot.json", []byte("{}"), nil, 412},
		{"replaces in general", ofSegment, segment, []string{"If-None-Match", "x"}, 428},
		{"a digest that is not the name's", schema.SegmentKey(manifest), segment, nil, 422},
		{"a digest that is not the body's", ofSegment, segment,
			[]string{"Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}, 408},
		{"no digest", ofSegment, segment, []string{"Content-Digest", "md5=:x:"}, 400},
		{"a manifest that is none", schema.ManifestKey(manifest), segment, nil, 422},
		{"a statement on another package", schema.StatementKey(manifest, "k"), []byte("{}"), nil, 422},
		{"a tree that is none", schema.TreeKey(manifest), segment, nil, 422},
		{"an unknown prefix", "packages/ab/abcd", segment, nil, 403},
		{"what a later version uses", "log/1.json", segment, nil, 403},
		{"an unknown role", "metadata/1.evil.json", evil, nil, 422},
		{"a role of another version", "metadata/9.targets.json", f.Files["1.targets.json"], nil, 422},
		{"a timestamp that goes back", schema.TimestampKey(1), stamp, nil, 412},
		{"another fleet's timestamp", schema.TimestampKey(2), stranger("2"), nil, 422},
		{"the greatest timestamp that there can be", schema.TimestampKey(schema.MaxTimestampVersion),
			stranger("999999999999"), nil, 422},
		{"the same timestamp under a later number", schema.TimestampKey(2), stamp, nil, 422},
		{"another fleet's root", "metadata/2.root.json", second, nil, 422},
		{"the first root under a later number", "metadata/2.root.json", root, nil, 422},
		{"a malformed key", "metadata/A", segment, nil, 400},
		{"a hidden file", "segments/.x", segment, nil, 400},
		{"more than a timestamp may have", schema.TimestampKey(2), spaces, nil, 413},
		{"more than a claim may have", schema.PayloadKey(manifest, "deflate1"), spaces, nil, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.put(ci, c.key, c.body, c.headers...)
			if r.status != c.want || r.problem().Error == "" {
				t.Errorf("%d %s, want %d", r.status, r.body, c.want)
			}
		})
	}
	for _, path := range []string{"../x", "segments/../../x", "segments/%2e%2e/%2e%2e/x", "segments%2f..%2f..%2fx"} {
		if r := w.do(ci, http.MethodPut, remote.ObjectsPath+path, segment, "If-None-Match", "*"); r.status < 300 {
			t.Errorf("%s: %d", path, r.status)
		}
	}
	for _, method := range []string{http.MethodDelete, http.MethodPost, http.MethodPatch} {
		r := w.do(ci, method, remote.ObjectsPath+schema.TimestampKey(1), nil)
		if r.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
	if after := keysOf(t, f.store); !slices.Equal(before, after) {
		t.Errorf("the store changed from %q to %q", before, after)
	}
	check(t, w.server.releases.Follow(t.Context()))
	if _, trouble := w.server.releases.Now(); trouble != "" {
		t.Error(trouble)
	}
	if log := w.log.String(); strings.Contains(log, password) {
		t.Error("the password is in the log")
	}
}

// A thief of the timestamp's key signs one that names a snapshot which is not there.
func TestATimestampThatLeadsNowhereIsNotAdmitted(t *testing.T) {
	f := publishers(t)
	w := start(t, f)
	f.Release() // signed, and not saved
	r := w.put(ci, schema.TimestampKey(2), f.Files["timestamp.json"])
	if r.status != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", r.status, r.body)
	}
	f.save()
	if head, err := store.Head(t.Context(), f.store); head != 2 || err != nil {
		t.Error(head, err)
	}
}

func keysOf(t *testing.T, s store.Store) (keys []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), "", "") {
		check(t, err)
		keys = append(keys, e.Key)
	}
	return keys
}
