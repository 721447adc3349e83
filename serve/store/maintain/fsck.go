// Package maintain looks after a store, over the contract of package store: Fsck digests everything and says what is
// altered, missing or left over; History is the published states that the store still has, verified; GC deletes what no
// state that is kept needs.
package maintain

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/tree"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// Finding is one thing that Fsck has to say about the object at Key, or about a stray file of a local store.
type Finding struct {
	Key  string
	Err  error
	Note bool // harmless: something left over or not understood. Otherwise the object is altered, missing or broken
}

// Summary counts what Fsck read.
type Summary struct {
	Head    int64 // version of the newest timestamp
	Objects int   // objects read
	Bytes   int64 // their size
	Errors  int
	Notes   int
}

// Fsck reads every object and reports, in a stable order, what is wrong with it:
//
//	targets, segments, files   the bytes have the digest that the key names
//	manifests                  inflate to the digest in the key, decode, and every segment is there in the right size
//	trees                      have the root that the key names
//	payloads                   the claim's segment inflates (raw deflate) to the payload digest in the key
//	contents                   decode; nothing depends on them
//	statements                 decode and speak of the package in the key
//	metadata, timestamps       decode as the role and version in the key
//	each published state       everything that its timestamp leads to is there: snapshot, bins, top-level targets,
//	                           manifests, and at least one statement on each package; targets and bins are the
//	                           files that the snapshot's tree names
//
// What no metadata leads to was left by a run that died, or belongs to one that is under way: a note. Signatures are
// not checked, since that takes the fleet's root: reconcile and every host do. With assemble every package is put
// together and digested too. The error is of the store itself (it could not be read) or ctx's; findings are not
// errors.
func Fsck(ctx context.Context, s store.Store, assemble bool, report func(Finding)) (Summary, error) {
	c := &checker{ctx: ctx, store: s, assemble: assemble,
		present: map[string]int64{}, altered: map[string]bool{}, used: map[string]bool{},
		packages: map[string]schema.Digest{}, stated: map[string]bool{},
		sums: map[string]schema.Digest{}, trees: map[string]tree.Tree{}}
	c.report = func(f Finding) {
		if f.Note {
			c.sum.Notes++
		} else {
			c.sum.Errors++
		}
		report(f)
	}
	err := c.run()
	return c.sum, err
}

type checker struct {
	ctx      context.Context
	store    store.Store
	assemble bool
	report   func(Finding)
	sum      Summary

	present  map[string]int64         // size by key, of everything listed
	altered  map[string]bool          // keys with an error of their own, so that it is reported once
	used     map[string]bool          // keys that something leads to
	packages map[string]schema.Digest // by manifest key, of the manifests that decode
	stated   map[string]bool          // manifest keys with a statement

	sums  map[string]schema.Digest // of metadata files, by key
	trees map[string]tree.Tree     // by key, of those that decode

	timestamps []int64 // versions, rising, of those that decode
}

// run goes from the bytes up: content first, then what refers to it, then whether anything does.
func (c *checker) run() error {
	var keys []string
	for e, err := range c.store.List(c.ctx, "", "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Key, schema.LockDir) {
			continue // comes and goes, and nothing depends on it
		}
		keys = append(keys, e.Key)
		c.present[e.Key] = e.Size
	}
	done := map[string]bool{}
	for _, step := range []struct {
		dir   string
		only  func(key string) bool
		check func(key string) error
	}{
		{schema.SegmentDir, nil, c.content("segment", schema.SegmentKey)},
		{schema.SourceFileDir, nil, c.content("file", schema.SourceFileKey)},
		{schema.TargetDir, nil, c.content("target", schema.TargetKey)},
		{schema.TreeDir, nil, c.tree},
		{schema.PayloadDir, nil, c.payload},
		{schema.ManifestDir, nil, c.manifest},
		{schema.ContentsDir, nil, c.contents},
		{schema.StatementDir, nil, c.statement},
		{schema.TimestampDir, nil, c.timestamp},
		{schema.MetadataDir, isSnapshot, c.metadata},
		{schema.MetadataDir, nil, c.metadata},
	} {
		for _, key := range keys {
			if done[key] || !strings.HasPrefix(key, step.dir) || step.only != nil && !step.only(key) {
				continue
			}
			done[key] = true
			if err := c.one(key, step.check); err != nil {
				return err
			}
		}
	}
	for _, key := range keys {
		if !done[key] && !schema.Reserved(key) {
			c.note(key, "is of a kind that this version does not know")
		}
	}
	if err := c.whole(c.timestamps); err != nil {
		return err
	}
	c.orphans(keys)
	strays, err := c.store.Strays(c.ctx)
	if err != nil {
		return err
	}
	for _, path := range strays {
		c.note(path, "is no object of a store: a temporary file of a writer, or put there by somebody else")
	}
	return nil
}

// one checks one object. An error that says the store cannot be read ends the run; any other is a finding.
func (c *checker) one(key string, check func(string) error) error {
	c.sum.Objects++
	c.sum.Bytes += c.present[key]
	err := check(key)
	var unread *unreadError
	switch {
	case err == nil:
		return nil
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case errors.As(err, &unread) && errors.Is(err, fs.ErrNotExist):
		return nil // gc removed it since it was listed
	case errors.As(err, &unread):
		return err
	}
	c.altered[key] = true
	c.report(Finding{Key: key, Err: err})
	return nil
}

func (c *checker) note(key, text string) {
	c.report(Finding{Key: key, Err: errors.New(text), Note: true})
}

// unreadError is a failure of the store, not of what is in it.
type unreadError struct{ error }

func (u *unreadError) Unwrap() error { return u.error }

// read opens an object; its own errors, and those of reading it, are unreadErrors.
func (c *checker) read(key string) (io.ReadCloser, error) {
	r, err := c.store.Open(c.ctx, key)
	if err != nil {
		return nil, &unreadError{err}
	}
	return &objectReader{c, r}, nil
}

type objectReader struct {
	c *checker
	io.ReadCloser
}

func (o *objectReader) Read(b []byte) (int, error) {
	if err := o.c.ctx.Err(); err != nil {
		return 0, &unreadError{err}
	}
	n, err := o.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		err = &unreadError{err}
	}
	return n, err
}

func (c *checker) readAll(key string, limit int64) ([]byte, error) {
	r, err := c.read(key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return b, err
}

// content checks an object whose key is the digest of its bytes.
func (c *checker) content(kind string, keyOf func(schema.Digest) string) func(string) error {
	return func(key string) error {
		want, err := kinds.DigestIn(key, keyOf)
		if err != nil {
			return err
		}
		r, err := c.read(key)
		if err != nil {
			return err
		}
		defer r.Close()
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		if got := schema.Digest(h.Sum(nil)); got != want {
			return &schema.AlteredError{Object: kind, Want: want, Got: got}
		}
		return nil
	}
}

// there says whether an object that something refers to exists. One that was created since the listing counts.
func (c *checker) there(key string) (size int64, ok bool, err error) {
	c.used[key] = true
	if size, ok := c.present[key]; ok {
		return size, true, nil
	}
	e, err := c.store.Stat(c.ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, &unreadError{err}
	}
	c.present[key] = e.Size
	return e.Size, true, nil
}
