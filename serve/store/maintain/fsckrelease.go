package maintain

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/tree"
	"bakehouse/serve/store/kinds"
)

// role is as much of a TUF role file as says what it leads to. It is unverified: good for finding gaps, for nothing
// else.
type role struct {
	Signed struct {
		Type    string `json:"_type"`
		Version int64  `json:"version"`
		Meta    map[string]struct {
			Version int64 `json:"version"`
		} `json:"meta"`
		Bakehouse struct {
			Tree []byte `json:"tree"` // of a snapshot: the root of package tree
		} `json:"bakehouse"`
		Targets map[string]*struct {
			Hashes struct {
				SHA256 string `json:"sha256"`
			} `json:"hashes"`
			Custom struct {
				Manifest schema.Digest `json:"manifest"`
				Older    []struct {
					Manifest schema.Digest `json:"manifest"`
				} `json:"older"`
			} `json:"custom"`
		} `json:"targets"`
	} `json:"signed"`
	Signatures []json.RawMessage `json:"signatures"`

	sum schema.Digest // of the file
}

// maxRole bounds any role file.
const maxRole = schema.MaxTargets

func (c *checker) role(key, wantType string, wantVersion int64) (*role, error) {
	b, err := c.readAll(key, maxRole)
	if err != nil {
		return nil, err
	}
	var r role
	if err := schema.Decode(b, &r); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	if r.Signed.Type != wantType || r.Signed.Version != wantVersion || len(r.Signatures) == 0 {
		return nil, fmt.Errorf("metadata of type %.40q and version %d with %d signatures is not what its name says",
			r.Signed.Type, r.Signed.Version, len(r.Signatures))
	}
	r.sum = schema.DigestOf(b)
	return &r, nil
}

// tree checks the lines of a snapshot's tree.
func (c *checker) tree(key string) error {
	root, err := kinds.DigestIn(key, schema.TreeKey)
	if err != nil {
		return err
	}
	b, err := c.readAll(key, schema.MaxTree)
	if err != nil {
		return err
	}
	t, err := tree.Decode(b, root)
	if err == nil {
		c.trees[key] = t
	}
	return err
}

// named reports the files of a published snapshot that are not those that its tree names.
func (c *checker) named(key string, snapshot *role) {
	root := snapshot.Signed.Bakehouse.Tree
	if len(root) != len(schema.Digest{}) {
		c.report(Finding{Key: key, Err: errors.New("names no tree of the bins' files")})
		return
	}
	t, ok := c.trees[schema.TreeKey(schema.Digest(root))]
	if !ok {
		return // missing or altered, and reported as such
	}
	if len(t) != len(snapshot.Signed.Meta) {
		c.report(Finding{Key: key,
			Err: fmt.Errorf("lists %d files, and its tree %d", len(snapshot.Signed.Meta), len(t))})
	}
	for _, l := range t {
		if snapshot.Signed.Meta[l.Role+".json"].Version != l.Version {
			c.report(Finding{Key: key, Err: fmt.Errorf("lists %s in another version than its tree", l.Role)})
			continue
		}
		file := schema.MetadataKey(l.Role, l.Version)
		if sum, ok := c.sums[file]; ok && sum != l.SHA256 {
			c.report(Finding{Key: file, Err: &schema.AlteredError{Object: "metadata", Want: l.SHA256, Got: sum}})
		}
	}
}

// metadata checks one versioned role file. If a timestamp leads to it, it marks what it leads to in turn; so snapshots
// have to come before targets and bins.
func (c *checker) metadata(key string) error {
	name, version, err := kinds.Metadata(key)
	if err != nil {
		return err
	}
	r, err := c.role(key, kinds.RoleType(name), version)
	if err != nil {
		return err
	}
	c.sums[key] = r.sum
	if name == "root" {
		c.used[key] = true // the chain of roots stands for itself
	}
	if c.used[key] {
		c.use(r)
	}
	return nil
}

func (c *checker) use(r *role) {
	for _, to := range r.leadsTo() {
		c.used[to.key] = true
	}
}

func (c *checker) timestamp(key string) error {
	version, ok := schema.ParseTimestampKey(key)
	if !ok {
		return fmt.Errorf("is not named as a timestamp")
	}
	r, err := c.role(key, "timestamp", version)
	if err != nil {
		return err
	}
	c.used[key] = true
	c.use(r)
	c.sum.Head = version // they come in order
	c.timestamps = append(c.timestamps, version)
	return nil
}

// link is an object that a role file names, and for messages what it is.
type link struct{ key, what string }

// leadsTo lists what r names, in no order.
func (r *role) leadsTo() (all []link) {
	for file, meta := range r.Signed.Meta {
		name := strings.TrimSuffix(file, ".json")
		all = append(all, link{schema.MetadataKey(name, meta.Version), "metadata"})
	}
	if root := r.Signed.Bakehouse.Tree; len(root) == len(schema.Digest{}) {
		all = append(all, link{schema.TreeKey(schema.Digest(root)), "the tree"})
	}
	for path, target := range r.Signed.Targets {
		if target == nil {
			continue
		}
		if !target.Custom.Manifest.IsZero() {
			all = append(all, link{schema.ManifestKey(target.Custom.Manifest), "the manifest of target " + path})
			for _, older := range target.Custom.Older {
				all = append(all, link{schema.ManifestKey(older.Manifest), "the manifest of an older candidate of target " + path})
			}
			continue
		}
		if d, err := schema.ParseHex(target.Hashes.SHA256); err == nil {
			all = append(all, link{schema.TargetKey(d), "target " + path})
		}
	}
	return all
}

// whole reports what a timestamp leads to and is not there; the newest first, which is what hosts are given. The
// others are there to be gone back to, and gc removes a timestamp before anything that it leads to.
func (c *checker) whole(timestamps []int64) error {
	seen := map[string]bool{}
	for _, version := range slices.Backward(timestamps) {
		if err := c.wholeFrom(version, seen); err != nil {
			return err
		}
	}
	return nil
}

// wholeFrom is whole for one timestamp, without what has been seen already.
func (c *checker) wholeFrom(head int64, seen map[string]bool) error {
	release := "the newest release"
	if head != c.sum.Head {
		release = fmt.Sprintf("the release at timestamp %d", head)
	}
	todo := []string{schema.TimestampKey(head)}
	for len(todo) > 0 {
		key := todo[0]
		todo = todo[1:]
		name, version, err := kinds.Metadata(key)
		wantType := kinds.RoleType(name)
		if err != nil {
			version, wantType = head, "timestamp"
		}
		r, err := c.role(key, wantType, version)
		if unread := (*unreadError)(nil); errors.As(err, &unread) {
			return err
		}
		if err != nil {
			continue // reported when it was checked by itself
		}
		if name == "snapshot" {
			c.named(key, r)
		}
		links := r.leadsTo()
		slices.SortFunc(links, func(a, b link) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.what, b.what)) })
		for _, to := range links {
			if seen[to.key] {
				continue
			}
			seen[to.key] = true
			_, ok, err := c.there(to.key)
			if err != nil {
				return err
			}
			if !ok {
				c.report(Finding{Key: to.key, Err: fmt.Errorf("is missing: %s, which %s of %s names", to.what, key, release)})
			} else if pkg, isPackage := c.packages[to.key]; isPackage && !c.stated[to.key] {
				c.report(Finding{Key: to.key, Err: fmt.Errorf("package %s has no sound statement, so every host refuses it: %s", pkg, to.what)})
			} else if strings.HasPrefix(to.key, schema.MetadataDir) {
				todo = append(todo, to.key)
			}
		}
	}
	return nil
}

// orphans notes what nothing leads to. Payload claims and source files are caches that stand for themselves.
func (c *checker) orphans(keys []string) {
	const text = "is not part of any release: left by a run that did not finish, or of one that is under way"
	for _, key := range keys {
		if c.used[key] || c.altered[key] {
			continue
		}
		dir, rest, _ := strings.Cut(key, "/")
		switch dir + "/" {
		case schema.ContentsDir:
			d, err := schema.ParseHex(rest[strings.LastIndexByte(rest, '/')+1:])
			_, manifest := c.present[schema.ManifestKey(d)]
			_, segment := c.present[schema.SegmentKey(d)]
			if err == nil && !manifest && !segment {
				c.note(key, text)
			}
		case schema.StatementDir:
			hex, _, _ := strings.Cut(rest, "/")
			d, err := schema.ParseHex(hex)
			if _, decodes := c.packages[schema.ManifestKey(d)]; err != nil || !decodes {
				c.note(key, text)
			}
		case schema.MetadataDir, schema.TreeDir, schema.TargetDir, schema.ManifestDir, schema.SegmentDir:
			c.note(key, text)
		}
	}
}
