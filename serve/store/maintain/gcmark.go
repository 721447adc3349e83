package maintain

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// mark finds the states that are kept and everything that they need. Any error means that nothing may be deleted.
func (g *collector) mark() error {
	h, err := OpenHistory(g.ctx, g.store, g.Anchor)
	if err != nil {
		return err
	}
	if len(h.Versions()) == 0 {
		return fault.Hint(errors.New("the store holds no release, so there is nothing to judge by"),
			"publish one with bakehouse reconcile, or name the right store")
	}
	g.report.Head = h.Versions()[0]
	said := map[schema.Digest]bool{} // contents of the target "release" that a kept state has
	var replaced time.Time           // when the next state came
	older := false                   // than the releases that are kept
	for i, version := range h.Versions() {
		e := g.entries[schema.TimestampKey(version)]
		recent := i == 0 || g.young(e) || g.now.Sub(replaced) < g.Grace
		replaced = e.Time
		if older && !recent {
			continue
		}
		s, err := h.At(g.ctx, version)
		if err != nil {
			return giveUp(err, i, version)
		}
		if i == 0 {
			g.current["snapshot"] = s.snap
			for role, v := range s.meta {
				g.current[role] = v
			}
		}
		// Numbers never fall, so the states below are older still.
		older = older || i > 0 && s.Release.Number <= g.report.States[0].Release-int64(g.Keep)
		if content := s.content[schema.ReleaseTarget]; recent || !older && !said[content] {
			said[content] = true
			if err := g.keep(s); err != nil {
				return giveUp(fmt.Errorf("%s: %w", schema.TimestampKey(version), err), i, version)
			}
			g.report.States = append(g.report.States,
				KeptState{Timestamp: version, Release: s.Release.Number, Commit: s.Release.Commit, Issued: s.Release.Issued})
		}
	}
	for _, key := range g.keys {
		if strings.HasSuffix(key, ".root.json") && strings.HasPrefix(key, schema.MetadataDir) {
			g.live[key] = true // hosts walk from the root that they have
		}
	}
	return g.claims()
}

// giveUp adds what else can be done about a state that is damaged and not the newest.
func giveUp(err error, i int, version int64) error {
	if i == 0 {
		return err
	}
	hint := fmt.Sprintf("restore what is wrong or missing (bakehouse store fsck); or give that release up: remove %s "+
		"from the store", schema.TimestampKey(version))
	if fault.IsRefusal(err) {
		return fault.Refuse(err, "%s", hint)
	}
	return fault.Hint(err, "%s", hint)
}

// keep marks a state and all that it needs. All of it must be there.
func (g *collector) keep(s *State) error {
	for _, key := range []string{schema.TimestampKey(s.Timestamp), schema.MetadataKey("snapshot", s.snap)} {
		g.live[key] = true
	}
	if err := g.needs(schema.TreeKey(s.tree)); err != nil {
		return err
	}
	for role, version := range s.meta {
		g.live[schema.MetadataKey(role, version)] = true
	}
	for a, err := range s.Assignments(g.ctx, g.seen) {
		if err != nil {
			return err
		}
		for _, c := range a.Candidates() {
			if err := g.keepPackage(c); err != nil {
				return fmt.Errorf("host %s: %w", a.Host, err)
			}
		}
	}
	for name, d := range s.content {
		if err := g.needs(schema.TargetKey(d)); err != nil {
			return fmt.Errorf("target %s: %w", name, err)
		}
	}
	return nil
}

// needs marks an object that must be there.
func (g *collector) needs(key string) error {
	if _, ok := g.entries[key]; !ok {
		return fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	g.live[key] = true
	return nil
}

func (g *collector) keepPackage(c schema.Candidate) error {
	key := schema.ManifestKey(c.Manifest)
	if g.live[key] {
		return nil
	}
	m, err := g.manifest(c.Manifest)
	if err != nil {
		return err
	}
	if m.SHA256 != c.SHA256 {
		return fault.Refuse(fmt.Errorf("manifest %s describes package %s, not the signed %s", c.Manifest.Short(),
			m.SHA256.Short(), c.SHA256.Short()),
			"the publisher made a mistake, or its keys are in other hands")
	}
	g.live[key] = true
	for _, ref := range m.Segments() {
		if err := g.needs(schema.SegmentKey(ref.Digest)); err != nil {
			return fmt.Errorf("package %s: %w", c.SHA256.Short(), err)
		}
	}
	g.under(schema.StatementsPrefix(c.Manifest), g.live)
	return nil
}

func (g *collector) manifest(d schema.Digest) (*schema.Manifest, error) {
	b, err := store.Read(g.ctx, g.store, schema.ManifestKey(d), schema.MaxManifest)
	if err != nil {
		return nil, err
	}
	return schema.DecodeManifest(b, d)
}

// under marks all keys with that prefix.
func (g *collector) under(prefix string, mark map[string]bool) {
	i, _ := slices.BinarySearch(g.keys, prefix)
	for ; i < len(g.keys) && strings.HasPrefix(g.keys[i], prefix); i++ {
		mark[g.keys[i]] = true
	}
}

// claims marks those whose segment is live. They are small, and each says by itself which segment it is about.
func (g *collector) claims() error {
	for _, key := range g.keys {
		if !strings.HasPrefix(key, schema.PayloadDir) {
			continue
		}
		ref, err := g.claim(key)
		if err != nil {
			return err
		}
		if g.live[schema.SegmentKey(ref.Digest)] {
			g.live[key] = true
		}
	}
	return nil
}

// claim reads a claim. One whose segment is not there was altered: gc takes the claim first, and bake makes it last.
func (g *collector) claim(key string) (ref schema.SegmentRef, err error) {
	b, err := store.Read(g.ctx, g.store, key, schema.MaxStatement)
	if err != nil {
		return ref, err
	}
	_, codec, _ := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], ".")
	if err := schema.Decode(b, &ref); err != nil || schema.PayloadKey(ref.Payload, codec) != key ||
		g.entries[schema.SegmentKey(ref.Digest)].Key == "" {
		return ref, fault.Refuse(fmt.Errorf("%s is altered: it does not say which segment has that payload", key),
			"find out who altered the store, and remove the object: it is made again when it is needed")
	}
	return ref, nil
}

// spare marks what no kept state needs and what stays all the same: objects that are new, metadata above the newest
// state's and what is not understood; and everything that these name, or a claim would be left without its segment.
func (g *collector) spare() error {
	for _, key := range g.keys {
		if g.live[key] || !g.young(g.entries[key]) && !g.above(key) {
			continue
		}
		if err := g.spareOne(key); err != nil {
			return err
		}
	}
	return nil
}

// lists keeps the lists of files whose package or segment stays.
func (g *collector) lists() {
	for _, key := range g.keys {
		if !strings.HasPrefix(key, schema.ContentsDir) {
			continue
		}
		d, err := schema.ParseHex(key[strings.LastIndexByte(key, '/')+1:])
		if err != nil {
			continue // none of ours
		}
		for _, of := range []string{schema.ManifestKey(d), schema.SegmentKey(d)} {
			g.live[key] = g.live[key] || g.live[of]
			g.spared[key] = g.spared[key] || g.spared[of]
		}
	}
}

// above reports whether a metadata file is of a role or version that the newest state does not have or reach, or is a
// root.
func (g *collector) above(key string) bool {
	if !strings.HasPrefix(key, schema.MetadataDir) {
		return false
	}
	role, version, err := kinds.Metadata(key)
	current, ok := g.current[role]
	return err != nil || !ok || version >= current
}

// spareOne spares an object and what it names, as far as that is there: unlike a published state, what a run left need
// not be whole.
func (g *collector) spareOne(key string) error {
	if _, ok := g.entries[key]; !ok || g.live[key] || g.spared[key] {
		return nil
	}
	g.spared[key] = true
	dir, rest, _ := strings.Cut(key, "/")
	switch dir + "/" {
	case schema.MetadataDir:
		return g.spareNamed(key)
	case schema.StatementDir:
		return g.spareStated(key)
	case schema.PayloadDir:
		ref, err := g.claim(key)
		if err != nil {
			return err
		}
		return g.spareOne(schema.SegmentKey(ref.Digest))
	case schema.ManifestDir:
		d, err := schema.ParseHex(rest[strings.LastIndexByte(rest, '/')+1:])
		if err != nil {
			return nil // none of ours
		}
		m, err := g.manifest(d)
		if err != nil {
			return err
		}
		for _, ref := range m.Segments() {
			if err := g.spareOne(schema.SegmentKey(ref.Digest)); err != nil {
				return err
			}
		}
		g.under(schema.StatementsPrefix(d), g.spared)
	}
	return nil
}

// spareNamed spares what a metadata file names. It is unverified, which is good enough to leave things alone.
func (g *collector) spareNamed(key string) error {
	role, version, err := kinds.Metadata(key)
	if err != nil || role == "root" {
		return nil
	}
	c := &checker{ctx: g.ctx, store: g.store}
	r, err := c.role(key, kinds.RoleType(role), version)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	for _, to := range r.leadsTo() {
		if err := g.spareOne(to.key); err != nil {
			return err
		}
	}
	return nil
}

// spareStated spares the manifest that a statement is about.
func (g *collector) spareStated(key string) error {
	b, err := store.Read(g.ctx, g.store, key, schema.MaxStatement)
	if err != nil {
		return err
	}
	var envelope struct{ Payload string }
	err = schema.Decode(b, &envelope)
	var payload []byte
	if err == nil {
		payload, err = base64.StdEncoding.DecodeString(envelope.Payload)
	}
	var st schema.Statement
	if err == nil {
		st, err = schema.DecodeStatement(payload)
	}
	if err != nil {
		return fault.Refuse(fmt.Errorf("%s is altered: %w", key, err),
			"find out who altered the store, and remove the object")
	}
	return g.spareOne(schema.ManifestKey(st.Manifest))
}
