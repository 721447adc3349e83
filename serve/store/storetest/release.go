package storetest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/tree"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Object is one object of a release, in the order in which reconcile creates them.
type Object struct {
	Key  string
	Data []byte
}

// Release makes the objects of release n: one package of a segment that all releases share and one of its own. Equal n,
// equal bytes. Signatures are made up; Fsck does not look at them.
func Release(n int64) []Object {
	var all []Object
	add := func(key string, data []byte) { all = append(all, Object{key, data}) }
	asJSON := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b
	}

	m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent",
		Version: "1." + strconv.FormatInt(n, 10), Recipe: "0123456789012345",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Tgz,
		Anchor: schema.DigestOf([]byte("anchor")), Parts: []schema.Part{{Data: []byte("head ")}}}
	whole := []byte("head ")
	for _, payload := range []string{strings.Repeat("the agent ", 50), fmt.Sprintf("plug-in of release %d", n)} {
		segment := Deflate(payload)
		ref := schema.SegmentRef{Digest: schema.DigestOf(segment), Size: int64(len(segment)),
			Payload: schema.DigestOf([]byte(payload)), PayloadSize: int64(len(payload))}
		add(schema.SegmentKey(ref.Digest), segment)
		add(schema.PayloadKey(ref.Payload, "deflate1"), asJSON(ref))
		m.Parts = append(m.Parts, schema.Part{Segment: &ref})
		whole = append(whole, segment...)
	}
	m.Size, m.SHA256 = int64(len(whole)), schema.DigestOf(whole)
	plain, digest, err := m.Encode()
	if err != nil {
		panic(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(plain)
	z.Close()
	add(schema.ManifestKey(digest), packed.Bytes())

	statement, err := schema.StatementFor(m, digest).Encode()
	if err != nil {
		panic(err)
	}
	signature := []map[string]string{{"keyid": "k1", "sig": "c2ln"}}
	add(schema.StatementKey(digest, "k1"), asJSON(map[string]any{"payloadType": schema.StatementType,
		"payload": statement, "signatures": signature}))
	policy := asJSON(map[string]any{"schema": 1, "release": n})
	add(schema.TargetKey(schema.DigestOf(policy)), policy)

	role := func(kind string, version int64, more map[string]any) []byte {
		more["_type"], more["version"] = kind, version
		return asJSON(map[string]any{"signed": more, "signatures": signature})
	}
	target := func(length int64, sum schema.Digest, custom any) map[string]any {
		return map[string]any{"length": length, "hashes": map[string]string{"sha256": sum.Hex()}, "custom": custom}
	}
	meta := func(versions map[string]int64) map[string]any {
		all := map[string]any{}
		for name, v := range versions {
			all[name+".json"] = map[string]int64{"version": v}
		}
		return map[string]any{"meta": all}
	}
	if n == 1 {
		add(schema.MetadataKey("root", 1), role("root", 1, map[string]any{}))
	}
	bin := role("targets", n, map[string]any{"targets": map[string]any{
		"web01/package": target(m.Size, m.SHA256, schema.Target{Manifest: digest, Recipe: m.Recipe, Release: n}),
	}})
	add(schema.MetadataKey("bin-0", n), bin)
	targets := role("targets", n, map[string]any{"targets": map[string]any{
		"policy": target(int64(len(policy)), schema.DigestOf(policy), nil),
	}})
	add(schema.MetadataKey("targets", n), targets)
	t := tree.Of([]tree.Line{{Role: "targets", Version: n, SHA256: schema.DigestOf(targets)},
		{Role: "bin-0", Version: n, SHA256: schema.DigestOf(bin)}})
	add(schema.TreeKey(t.Root()), t.Encode())
	add(schema.MetadataKey("snapshot", n),
		role("snapshot", n, tree.Sign(meta(map[string]int64{"targets": n, "bin-0": n}), t.Root())))
	add(schema.TimestampKey(n), role("timestamp", n, meta(map[string]int64{"snapshot": n})))
	return all
}

// Deflate is a segment of that payload.
func Deflate(payload string) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	w.Write([]byte(payload))
	w.Flush() // a sync flush: byte aligned, and the stream goes on
	return b.Bytes()
}

// Publish creates what there is not yet of release n.
func Publish(ctx context.Context, s store.Store, n int64) error {
	for _, o := range Release(n) {
		if err := store.CreateBytes(ctx, s, o.Key, o.Data); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// PublishCommand is `publish DIR N [M]`, for scripts: of release N only the first M objects if M is given.
func PublishCommand() {
	ctx := context.Background()
	s, err := stores.Open(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	n, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		panic(err)
	}
	objects := Release(n)
	if len(os.Args) > 3 {
		m, err := strconv.Atoi(os.Args[3])
		if err != nil {
			panic(err)
		}
		objects = objects[:m]
	}
	for _, o := range objects {
		if err := store.CreateBytes(ctx, s, o.Key, o.Data); err != nil && !errors.Is(err, fs.ErrExist) {
			panic(err)
		}
		fmt.Println(o.Key)
	}
}
