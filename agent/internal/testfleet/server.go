package testfleet

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
)

// Discard is for servers whose handshakes fail on purpose.
var Discard = log.New(io.Discard, "", 0)

// DropStatements removes all statements from the server's store.
func (f *Fleet) DropStatements() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.Given {
		f.PutStatements(a.Manifest, nil)
	}
}

// Bend puts fn before the server: it returns true if it has answered. nil takes it away. Meanwhile polls bring only the
// timestamp, so that hosts ask for everything that fn may bend.
func (f *Fleet) Bend(fn func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bend = fn
}

// Bring puts fn between the server and what its polls bring. nil takes it away.
func (f *Fleet) Bring(fn func([]schema.PollFile) []schema.PollFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bring = fn
}

// Hold makes the server hold hosts back; empty: no longer.
func (f *Fleet) Hold(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = why
}

// HoldAs is Hold with the code of the hold.
func (f *Fleet) HoldAs(code, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold, f.holdCode = why, code
}

// Next makes the server ask hosts to come again after so many seconds; 0: no longer.
func (f *Fleet) Next(seconds int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = seconds
}

// Present makes the server show another certificate from now on.
func (f *Fleet) Present(c tls.Certificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.presents = &tls.Config{Certificates: []tls.Certificate{c}}
}

// Call has the server call a host by another name, and let it in under that, whatever is signed.
func (f *Fleet) Call(host, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called[host], f.secrets[name] = name, f.secrets[host]
}

// Admit makes the server know a host's registration, as if it had been imported there.
func (f *Fleet) Admit(host, secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets[host] = secret
}

// siteOf is the site of a host that has a package, by which the server calls it.
func (f *Fleet) siteOf(host string) string { return cmp.Or(f.Given[host].Site, schema.CentralSite) }

// Close ends the server.
func (f *Fleet) Close() { f.server.Close() }

// Head returns the newest timestamp; Replay makes an older one the newest.
func (f *Fleet) Head() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// Replay offers an earlier timestamp again.
func (f *Fleet) Replay(head []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.version = head, f.version-1
}

// Reports returns what polls said, in order.
func (f *Fleet) Reports() []schema.PollRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reports)
}

// Requests returns method and path of all requests since the last call.
func (f *Fleet) Requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.requests
	f.requests = nil
	return r
}

// Segment changes a stored segment, as somebody with access to the store would.
func (f *Fleet) Segment(d schema.Digest, change func([]byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := schema.SegmentKey(d)
	f.Objects[key] = change(bytes.Clone(f.Objects[key]))
}

// Manifest replaces a stored manifest's encoded form, under the digest it had.
func (f *Fleet) Manifest(d schema.Digest, json []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.PutManifest(d, json)
}

// ManifestOf is the manifest digest that a host is given.
func (f *Fleet) ManifestOf(host string) schema.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Given[host].Manifest
}

func (f *Fleet) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	bend := f.bend
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	f.mu.Unlock()
	if bend != nil && bend(w, r) {
		return
	}
	user, password, _ := r.BasicAuth()
	if r.URL.Path == schema.RegisterPath {
		f.register(w, r, user, password)
		return
	}
	f.mu.Lock()
	secret := f.secrets[user]
	f.mu.Unlock()
	open := r.Header.Get("Authorization") == "" && (schema.OpenMetadata(path.Base(r.URL.Path)) ||
		strings.HasSuffix(r.URL.Path, "."+schema.PolicyTarget))
	if !open && (secret == "" || secret != password) {
		problem(w, http.StatusUnauthorized, "the host is not registered here, or its secret is wrong")
		return
	}
	if r.URL.Path == schema.UnregisterPath {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.secrets[user] = ""
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.URL.Path == schema.PollPath {
		f.poll(w, r)
		return
	}
	dir, name := path.Split(r.URL.Path)
	d, _ := schema.ParseHex(strings.TrimSuffix(name, "."+schema.PolicyTarget))
	f.mu.Lock()
	defer f.mu.Unlock()
	var b []byte
	ok := false
	switch dir {
	case schema.MetadataPath:
		if b, ok = f.Files[name]; name == "timestamp.json" {
			b = f.head
		} else if ok {
			b = f.metadata(w, r, name, b)
		}
	case schema.TargetPath:
		b, ok = f.Objects[schema.TargetKey(d)]
	case schema.ManifestPath:
		if b, ok = f.Objects[schema.ManifestKey(d)]; ok {
			b = f.packageAnswer(r, user, d, b)
		}
	case schema.SegmentPath:
		b, ok = f.Objects[schema.SegmentKey(d)]
	}
	if !ok {
		problem(w, http.StatusNotFound, "not found")
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// packageAnswer adds the statements on the package that the host is given with that manifest.
func (f *Fleet) packageAnswer(r *http.Request, host string, manifest schema.Digest, gzip []byte) []byte {
	a := schema.PackageAnswer{Statements: []json.RawMessage{}}
	if r.Header.Get(schema.HaveManifest) != manifest.Hex() {
		a.Manifest = gzip
	}
	given := f.Given[host]
	for _, c := range given.Candidates() {
		if c.Manifest == manifest {
			for _, e := range f.Statements(c.Manifest) {
				a.Statements = append(a.Statements, shortened(manifest, gzip, e))
			}
		}
	}
	b, err := json.Marshal(a)
	check(f.t, err)
	return b
}

// shortened is an envelope as servers send it. What is no manifest, as attacks have it, leaves it as it is.
func shortened(manifest schema.Digest, gzip, envelope []byte) json.RawMessage {
	m, err := schema.DecodeManifest(gzip, manifest)
	if err != nil {
		return envelope
	}
	return schema.StatementFor(m, manifest).Shorten(envelope)
}

// metadata sends the difference to the version that the host holds, if it says so.
func (f *Fleet) metadata(w http.ResponseWriter, r *http.Request, name string, b []byte) []byte {
	var have, version int64
	var role string
	if _, err := fmt.Sscanf(r.Header.Get(delta.HaveHeader), "%d", &have); err != nil {
		return b
	}
	if _, err := fmt.Sscanf(name, "%d.%s", &version, &role); err != nil {
		return b
	}
	old, ok := f.Files[fmt.Sprintf("%d.%s", have, role)]
	if !ok {
		return b
	}
	small, err := delta.Deflate(b, old)
	if err != nil {
		return b
	}
	w.Header().Set("Content-Encoding", delta.Encoding)
	return small
}

func (f *Fleet) register(w http.ResponseWriter, r *http.Request, user, password string) {
	var q schema.RegisterRequest
	b, err := io.ReadAll(r.Body)
	if err != nil || schema.Decode(b, &q) != nil {
		problem(w, http.StatusBadRequest, "bad request")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.secrets[q.Host]
	switch {
	case r.Header.Get("Authorization") == "Bearer "+Token:
		f.secrets[q.Host] = fmt.Sprintf("host-secret-%d-of-%s", len(f.requests), q.Host)
		answer(w, schema.RegisterAnswer{Schema: 1, Secret: f.secrets[q.Host], Site: f.siteOf(q.Host)})
	case user != User || password != Password:
		problem(w, http.StatusUnauthorized, "wrong user or password")
	case strings.HasPrefix(q.Host, "forbidden"):
		problem(w, http.StatusForbidden, "not this host")
	case !known:
		problem(w, http.StatusNotFound, "unknown host")
	default:
		f.secrets[q.Host] = fmt.Sprintf("host-secret-%d-of-%s", len(f.requests), q.Host)
		answer(w, schema.RegisterAnswer{Schema: 1, Secret: f.secrets[q.Host], Site: f.siteOf(q.Host)})
	}
}

func (f *Fleet) poll(w http.ResponseWriter, r *http.Request) {
	var q schema.PollRequest
	b, err := io.ReadAll(r.Body)
	if err != nil || schema.Decode(b, &q) != nil {
		problem(w, http.StatusBadRequest, "bad request")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reports = append(f.reports, q)
	host, _, _ := r.BasicAuth()
	if f.called[host] == "" && q.Timestamp == f.version && q.Held == (f.hold != "") &&
		q.HoldCode == f.holdCode && f.next == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	files := f.files(host, q.MetadataVersions)
	if f.bring != nil {
		files = f.bring(files)
	} else if f.bend != nil {
		files = files[:min(len(files), 1)]
	}
	answer(w, schema.PollAnswer{Schema: 1, Root: 1, Hold: f.hold, HoldCode: f.holdCode, Next: f.next,
		Site: f.siteOf(host), Name: f.called[host], Files: files})
}

// files are what a host lacks, the timestamp first; all of it is taken from the newest release.
func (f *Fleet) files(host string, held schema.MetadataVersions) (files []schema.PollFile) {
	if held.Timestamp == f.version {
		return nil
	}
	files = append(files, schema.PollFile{Name: "timestamp.json", Data: f.head})
	if f.version != f.Timestamp.Signed.Version {
		return files // a replay
	}
	bin := f.Bin(host)
	for _, role := range []struct {
		name          string
		version, have int64
	}{
		{"snapshot", f.Snapshot.Signed.Version, held.Snapshot},
		{"targets", f.Targets["targets"].Signed.Version, held.Targets},
		{bin, f.Targets[bin].Signed.Version, held.Bin},
	} {
		name := fmt.Sprintf("%d.%s.json", role.version, role.name)
		b := f.Files[name]
		if role.version <= role.have {
			continue
		}
		file := schema.PollFile{Name: name, Data: b}
		if old, ok := f.Files[fmt.Sprintf("%d.%s.json", role.have, role.name)]; ok {
			small, err := delta.Deflate(b, old)
			check(f.t, err)
			file.Data, file.Against = small, role.have
		}
		files = append(files, file)
	}
	sum := f.Targets["targets"].Signed.Targets[schema.PolicyTarget].Hashes["sha256"]
	policy := schema.Digest(sum)
	return append(files, schema.PollFile{Name: policy.Hex() + "." + schema.PolicyTarget,
		Data: f.Objects[schema.TargetKey(policy)]})
}

func problem(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(schema.Problem{Error: text})
}

func answer(w http.ResponseWriter, v any) { json.NewEncoder(w).Encode(v) }
