package roots

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/reconcile/keys"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Ceremony changes the root of trust of a repo.
type Ceremony struct {
	Fleet *fleet.Fleet
	Repo  string // its directory
	Now   time.Time
	Keys  func(*fleet.Fleet) *keys.Keyring // opens the private halves at hand; nil where nothing is signed
}

// File is the path of a root.
func (c *Ceremony) File(version int) string {
	return filepath.Join(c.Repo, "trust", fmt.Sprintf("%d.root.json", version))
}

// Init writes the first root, signed by as many of the keys that have to as are at hand, but one at least.
func (c *Ceremony) Init(bins int) (*Chain, error) {
	ring := c.Keys(c.Fleet)
	path := c.File(1)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || len(c.Fleet.Roots) > 0 {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, fault.Hint(fmt.Errorf("%s exists", path), "hosts know this root; it is never made again")
	}
	root, err := New(c.Fleet, 1, bins, c.Now)
	if err != nil {
		return nil, err
	}
	made, err := c.with(root, 1)
	if err != nil {
		return nil, err
	}
	b, by, err := made.sign(c.Fleet, ring, "", "")
	if err != nil {
		return nil, err
	}
	if len(by) == 0 {
		return nil, fmt.Errorf("root: %w", made.nobody(c.Fleet, ring))
	}
	return c.write(b, 1, true)
}

// Next makes the root that follows from keys/, without any signature, and says what it changes; nil with no error if
// it is there already. renew makes it also if nothing changes, discard also in place of one that somebody has signed.
func (c *Ceremony) Next(renew, discard bool) (*Diff, *Chain, error) {
	there, err := Read(c.Fleet)
	if err != nil {
		return nil, nil, err
	}
	if len(there.roots) == 0 {
		return nil, nil, errNoRoot()
	}
	newest := there.Newest()
	draft := !newest.Complete() // newest is not in force yet
	before := newest
	if draft {
		if newest.Version == 1 {
			return nil, nil, there.verify(newest)
		}
		before = there.roots[newest.Version-2]
	}
	if err := there.Verify(before.Version); err != nil {
		return nil, nil, err
	}
	if before.info.Fleet != c.Fleet.Name {
		return nil, nil, fault.Hint(
			fmt.Errorf("the fleet is called %q in fleet.cue and %q in %s", c.Fleet.Name, before.info.Fleet, before),
			"change the name back: it cannot change")
	}
	root, err := New(c.Fleet, int64(before.Version+1), before.info.Bins, c.Now)
	if err != nil {
		return nil, nil, err
	}
	if draft && newest.fault == nil && !renew && !diffRoots(newest.md, root, there.name).Changed() {
		return nil, there, nil
	}
	carry(before.md, root)
	diff := diffRoots(before.md, root, there.name)
	half := before.md.Signed.Expires.Add(-c.Fleet.Lifetimes.Root / 2)
	if !diff.Changed() && !renew && c.Now.Before(half) {
		if draft {
			return nil, nil, fault.Hint(fmt.Errorf("keys/ say what %s says, so %s is not needed", before, newest),
				"delete it")
		}
		expires := before.md.Signed.Expires.UTC().Format(time.DateOnly)
		return nil, nil, fault.Hint(fmt.Errorf("keys/ say what %s says, and it expires on %s only", before, expires),
			"change uses or thresholds in keys/, or renew it all the same: bakehouse root next --renew")
	}
	if signed := newest.signers(); draft && len(signed) > 0 && !discard {
		return nil, nil, fault.Hint(fmt.Errorf("%s would be another, and %s signed it", newest, there.list(signed)),
			"discard that: bakehouse root next --discard-signatures")
	}
	made, err := c.with(root, before.Version+1)
	if err != nil {
		return nil, nil, err
	}
	b, err := made.Newest().arrange(nil)
	if err != nil {
		return nil, nil, err
	}
	made, err = c.write(b, before.Version+1, !draft)
	return diff, made, err
}

// with is the repo's chain with root as its version-th.
func (c *Ceremony) with(root *metadata.Metadata[metadata.RootType], version int) (*Chain, error) {
	b, err := root.ToBytes(false)
	if err != nil {
		return nil, err
	}
	f := *c.Fleet
	f.Roots = append(slices.Clone(f.Roots[:version-1]), b)
	return Read(&f)
}

// write puts b into trust/ and returns the chain with it. A file that must not be there yet is not replaced.
func (c *Ceremony) write(b []byte, version int, create bool) (*Chain, error) {
	f := *c.Fleet
	f.Roots = append(slices.Clone(f.Roots[:version-1]), b)
	made, err := Read(&f)
	if err != nil {
		return nil, err
	}
	if broken := made.Newest().fault; broken != nil {
		return nil, fmt.Errorf("%s: %w", made.Newest(), broken)
	}
	path := c.File(version)
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if create {
		return made, durable.Create(path, strings.NewReader(string(b)), 0o644)
	}
	return made, durable.WriteFile(path, b, 0o644)
}

// Sign adds the signature of the named key to the newest root, or of every key at hand that is still needed if none is
// named, and says whose were added.
func (c *Ceremony) Sign(name, private string) (added []string, made *Chain, err error) {
	there, err := Read(c.Fleet)
	if err != nil {
		return nil, nil, err
	}
	if len(there.roots) == 0 {
		return nil, nil, errNoRoot()
	}
	newest := there.Newest()
	if err := there.verify(newest); fault.IsRefusal(err) {
		return nil, nil, err
	}
	holders, err := there.holders(newest, c.Fleet, private)
	if err != nil {
		return nil, nil, err
	}
	f := *c.Fleet
	f.Keys = map[string]*fleet.Key{}
	for _, key := range holders {
		k := *key
		k.Retired = time.Time{} // a retired key has a last thing to sign: the root without it
		f.Keys[key.Name] = &k
	}
	ring := c.Keys(&f)
	b, added, err := there.sign(&f, ring, name, private)
	if err != nil {
		return nil, nil, err
	}
	if len(added) == 0 {
		if newest.Complete() || name != "" {
			return nil, there, nil
		}
		return nil, nil, there.nobody(&f, ring)
	}
	made, err = c.write(b, newest.Version, false)
	return added, made, err
}

// sign returns the newest root with signatures of f's keys added, and their names. A complete root gets none: it is
// known by its bytes, to the store that has it as well as to packages whose anchor it is.
func (c *Chain) sign(f *fleet.Fleet, ring *keys.Keyring, name, private string) ([]byte, []string, error) {
	r := c.Newest()
	holders, err := c.holders(r, f, private)
	if err != nil {
		return nil, nil, err
	}
	var only string
	if name != "" {
		if only, err = c.find(r, holders, name); err != nil {
			return nil, nil, err
		}
	}
	signed := slices.DeleteFunc(slices.Clone(r.md.Signatures), func(s metadata.Signature) bool {
		return !slices.Contains(r.signers(), s.KeyID)
	})
	var added []string
	for _, id := range r.may() {
		key := holders[id]
		if only != "" && id != only || slices.Contains(r.signers(), id) || r.Complete() || only == "" && !r.needs(id) {
			continue
		}
		if only == "" && ring.Usable(key) != nil {
			continue
		}
		s, err := ring.MetadataSigner(key.Name)
		if err != nil {
			return nil, nil, err
		}
		md := *r.md
		md.Signatures = nil
		one, err := keys.Sign(&md, key.Name, s)
		if err != nil {
			return nil, nil, err
		}
		signed = append(signed, *one)
		added = append(added, c.name(id))
		for _, q := range r.quorums {
			if i := slices.Index(q.lacking, id); i >= 0 {
				q.lacking, q.signed = slices.Delete(q.lacking, i, i+1), append(q.signed, id)
			}
		}
	}
	if only != "" && len(added) == 0 && !slices.Contains(r.signers(), only) {
		return nil, nil, fault.Hint(fmt.Errorf("%s is complete without key %s", r, c.name(only)),
			"a signature more would make other bytes of it, and it is known by its bytes")
	}
	b, err := r.arrange(signed)
	return b, added, err
}

// needs reports whether a quorum that is not met counts the key.
func (r *Root) needs(id string) bool {
	return slices.ContainsFunc(r.quorums, func(q *quorum) bool { return !q.met() && slices.Contains(q.lacking, id) })
}

// find is the id of the key that is meant: by its name, or by the start of its id.
func (c *Chain) find(r *Root, holders map[string]*fleet.Key, name string) (string, error) {
	var found []string
	for id, key := range holders {
		if key.Name == name || len(name) >= 8 && strings.HasPrefix(id, name) {
			found = append(found, id)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return "", fault.Hint(fmt.Errorf("no key %.80q may sign %s", name, r), "these may: %s",
		strings.Join(slices.Sorted(maps.Keys(byName(holders))), ", "))
}

func byName(holders map[string]*fleet.Key) map[string]bool {
	names := map[string]bool{}
	for _, key := range holders {
		names[key.Name] = true
	}
	return names
}

// nobody says why no key at hand adds anything to the newest root.
func (c *Chain) nobody(f *fleet.Fleet, ring *keys.Keyring) error {
	r := c.Newest()
	holders, err := c.holders(r, f, "")
	if err != nil {
		return err
	}
	var why []string
	for _, id := range r.may() {
		if err := ring.Usable(holders[id]); err != nil && r.needs(id) {
			why = append(why, err.Error())
		}
	}
	slices.Sort(why)
	return fault.Hint(fmt.Errorf("no key that %s needs can sign here: %s", r, strings.Join(why, "; ")),
		"set the directory of the private keys with --key-dir")
}
