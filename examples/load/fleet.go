package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

const (
	kinds    = 20 // different packages of a release
	password = "load"
	user     = "load"
)

// fleet is a published fleet, of which nothing was baked.
type fleet struct {
	*trusttest.Fleet
	hosts   []string
	store   store.Store
	stored  map[string]bool
	number  int64 // of the newest release
	segment []byte
	packs   []*trusttest.Package // of the newest release
}

// newFleet publishes the first release of a fleet into the store at dir.
func newFleet(ctx context.Context, dir string, o options) (*fleet, error) {
	st, err := stores.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	hash, err := cheapHash()
	if err != nil {
		return nil, err
	}
	f := &fleet{Fleet: trusttest.NewFleet(time.Now(), o.bins), store: st, stored: map[string]bool{},
		segment: make([]byte, o.segment)}
	_, _ = rand.Read(f.segment) // never fails
	everywhere := []string{"~.*"}
	f.Policy.Sites["central"] = schema.Site{URL: "https://localhost:8443"}
	f.More[schema.AccessTarget] = &schema.Access{Schema: 1, Users: map[string]schema.User{user: {Hash: hash,
		Permissions: map[string][]string{schema.PermRegister: everywhere, schema.PermView: everywhere}}}}
	f.More[schema.AboutTarget] = &schema.About{Schema: schema.AboutSchema, Subject: "load"}
	for i := range o.hosts {
		f.hosts = append(f.hosts, fmt.Sprintf("host%06d", i))
	}
	return f, f.publish(ctx, nil)
}

// publish gives every host another package, and makes a release of that. before, if any, is called when all but the
// timestamp is written.
func (f *fleet) publish(ctx context.Context, before func()) error {
	f.number++
	f.packs = nil
	var digests []schema.Digest
	for kind := range kinds {
		p := f.Pack(schema.Manifest{Version: fmt.Sprint(f.number), Recipe: schema.RecipeID(fmt.Sprintf("%016x", kind)),
			Format: schema.Deb, Platform: schema.Platform{OS: "linux", Arch: "amd64"}},
			trusttest.Piece{Bytes: fmt.Appendf(nil, "package %d of release %d", kind, f.number)},
			trusttest.Piece{Bytes: f.segment, Segment: &schema.SegmentRef{}})
		f.packs = append(f.packs, p)
		digests = append(digests, f.Put(p))
	}
	for i, host := range f.hosts {
		p := f.packs[i%kinds]
		f.Assign(schema.Assignment{Host: host, SHA256: p.Manifest.SHA256, Length: p.Manifest.Size,
			Target: f.Offer(digests[i%kinds], p.Manifest.Recipe, f.number)})
	}
	f.Policy.Issued = f.Policy.Issued.Add(time.Second)
	f.More[schema.ReleaseTarget] = schema.Release{Schema: 1, Number: f.number, Issued: f.Policy.Issued}
	f.Release()
	for key, b := range f.Objects {
		if err := f.write(ctx, key, b); err != nil {
			return err
		}
	}
	for name, b := range f.Files {
		if name != "timestamp.json" {
			if err := f.write(ctx, schema.MetadataDir+name, b); err != nil {
				return err
			}
		}
	}
	if before != nil {
		before()
	}
	return f.write(ctx, schema.TimestampKey(f.Timestamp.Signed.Version), f.Files["timestamp.json"])
}

func (f *fleet) write(ctx context.Context, key string, b []byte) error {
	if f.stored[key] {
		return nil
	}
	f.stored[key] = true
	return store.CreateBytes(ctx, f.store, key, b)
}

// secret is what a host authenticates with.
func secret(host string) string { return "the secret of " + host }

// body is the poll of host number i, as one that has installed the packages of this moment.
func (f *fleet) body(i int) []byte {
	now := time.Now().UTC().Truncate(time.Second)
	p, version := f.packs[i%kinds], f.Timestamp.Signed.Version
	b, err := json.Marshal(schema.PollRequest{Schema: schema.WireVersions(),
		MetadataVersions: schema.MetadataVersions{Root: 1, Timestamp: version, Snapshot: version, Targets: version,
			Bin: version},
		Report: schema.Report{Agent: "1.0.0", Platform: p.Manifest.Platform, State: schema.StateCurrent,
			Target: p.Manifest.SHA256, Downloaded: p.Manifest.SHA256, Installed: p.Manifest.SHA256,
			Recipe: p.Manifest.Recipe, Release: f.number, Fetched: 2345, LastCheck: now, LastUpdate: now,
			NextCheck: now.Add(time.Hour), Machine: fmt.Sprintf("%016x", i)}})
	if err != nil {
		panic(err) // these are always encoded
	}
	return b
}

// request is a POST as it goes over the wire, of a host or user.
func request(path, name, password string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic %s\r\nUser-Agent: bakehouse-agent\r\n"+
		"Accept-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		path, basic(name, password), len(body))
	return slices.Concat(b.Bytes(), body)
}

// get is a GET as it goes over the wire, with further header lines.
func get(path string, header ...string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(header, "\r\n"), "\r\n"))
}
