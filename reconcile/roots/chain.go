package roots

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	tufquorum "bakehouse/agent/trust/quorum"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// A root is signed by people, one after the other, so the newest one in trust/ may lack signatures. The file then has
// an entry for every key that may sign it, in order of key ids, with an empty signature until the key has signed. So
// two people who sign on two branches change different lines, and git merges them.

// Chain is the roots of a repo, as far as they can be read.
type Chain struct {
	roots []*Root
	names map[string]string // of keys, by id
}

// Root is trust/N.root.json.
type Root struct {
	Version int
	bytes   []byte
	md      *metadata.Metadata[metadata.RootType]
	info    trust.RootInfo
	quorums []*quorum
	fault   error // what does not verify
}

// Read reads the roots of f. What cannot be read is a refusal.
func Read(f *fleet.Fleet) (*Chain, error) {
	c := &Chain{names: map[string]string{}}
	for i, b := range f.Roots {
		r := &Root{Version: i + 1, bytes: b}
		var err error
		if r.md, err = trust.ReadRoot(b); err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
		if err := wellFormed(r.md, r.Version); err != nil {
			return nil, fault.Refuse(fmt.Errorf("%s: %w", r, err), "restore it from the repo's history")
		}
		r.info, _ = trust.Info(r.md)
		for id, name := range namesIn(r.md) {
			if c.names[id] == "" { // what is signed does not become another name by what is not
				c.names[id] = name
			}
		}
		c.roots = append(c.roots, r)
	}
	// Two keys in turn may have had one name; the one that has it now keeps it.
	taken := map[string]string{}
	for _, key := range keys.Sorted(f) {
		id, err := keys.ID(key)
		if err != nil {
			return nil, err
		}
		taken[key.Name], c.names[id] = id, key.Name
	}
	for id, name := range c.names {
		if other, ok := taken[name]; ok && other != id {
			c.names[id] = fmt.Sprintf("%s (%.8s)", name, id)
		}
	}
	for i := range c.roots {
		c.judge(i)
	}
	return c, nil
}

// wellFormed checks what the rest of this package goes by.
func wellFormed(md *metadata.Metadata[metadata.RootType], version int) error {
	if md.Signed.Version != int64(version) {
		return fmt.Errorf("holds version %d", md.Signed.Version)
	}
	for _, role := range roles {
		r := md.Signed.Roles[role]
		if r == nil || r.Threshold < 1 || len(r.KeyIDs) < r.Threshold {
			return fmt.Errorf("too few keys may sign %s", role)
		}
		for _, id := range r.KeyIDs {
			if md.Signed.Keys[id] == nil {
				return fmt.Errorf("key %.16s of %s is missing", id, role)
			}
		}
	}
	return nil
}

// judge settles who has signed the i-th root, and what of it does not verify.
func (c *Chain) judge(i int) {
	r := c.roots[i]
	valid := map[string]bool{}
	add := func(by *Root) {
		role := by.md.Signed.Roles[metadata.ROOT]
		q := &quorum{by: []int{by.Version}, threshold: role.Threshold,
			signed: tufquorum.OfRoot(by.md, metadata.ROOT).Signers(r.md)}
		for _, id := range role.KeyIDs {
			if !slices.Contains(q.signed, id) {
				q.lacking = append(q.lacking, id)
			} else {
				valid[id] = true
			}
		}
		slices.Sort(q.signed)
		slices.Sort(q.lacking)
		if n := len(r.quorums); n > 0 && r.quorums[n-1].same(q) {
			r.quorums[n-1].by = append(r.quorums[n-1].by, by.Version)
			return
		}
		r.quorums = append(r.quorums, q)
	}
	if i > 0 {
		before := c.roots[i-1]
		add(before)
		if r.info.Fleet != before.info.Fleet || r.info.Bins != before.info.Bins {
			r.fault = fmt.Errorf("it is of fleet %q with %d bins, the one before of %q with %d: neither can change",
				r.info.Fleet, r.info.Bins, before.info.Fleet, before.info.Bins)
		}
	}
	add(r)
	for _, s := range r.md.Signatures {
		if may := r.may(); len(s.Signature) > 0 && !valid[s.KeyID] && slices.Contains(may, s.KeyID) {
			r.fault = fmt.Errorf("the signature of key %s is not of these bytes", c.name(s.KeyID))
		}
	}
}

// may are the ids of all keys whose signature counts, in order.
func (r *Root) may() []string {
	var ids []string
	for _, q := range r.quorums {
		ids = append(ids, q.all()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// signers are those of may that have signed.
func (r *Root) signers() []string {
	var ids []string
	for _, q := range r.quorums {
		ids = append(ids, q.signed...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (r *Root) Complete() bool {
	return r.fault == nil && !slices.ContainsFunc(r.quorums, func(q *quorum) bool { return !q.met() })
}

// path is the file within the repo.
func (r *Root) path() string { return fmt.Sprintf("trust/%d.root.json", r.Version) }

// Digest is that of the file, by which packages and stores know the root.
func (r *Root) Digest() schema.Digest { return schema.DigestOf(r.bytes) }

func (r *Root) String() string { return r.path() }

// name is what people call the key.
func (c *Chain) name(id string) string {
	if name := c.names[id]; name != "" {
		return name
	}
	return fmt.Sprintf("%.16s", id)
}

func (c *Chain) list(ids []string) string {
	var names []string
	for _, id := range ids {
		names = append(names, c.name(id))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Newest is the last root; the chain must have one.
func (c *Chain) Newest() *Root { return c.roots[len(c.roots)-1] }

// Verify reports the first root, up to the one with that version, that does not verify, a refusal, or lacks signatures.
func (c *Chain) Verify(version int) error {
	for _, r := range c.roots[:version] {
		if err := c.verify(r); err != nil {
			return err
		}
	}
	return nil
}

// Refusal reports the first root that does not verify. Lacking signatures are none.
func (c *Chain) Refusal() error {
	for _, r := range c.roots {
		if err := c.verify(r); fault.IsRefusal(err) {
			return err
		}
	}
	return nil
}

func (c *Chain) verify(r *Root) error {
	if r.fault != nil {
		return fault.Refuse(fmt.Errorf("%s: %w", r, r.fault),
			"restore it from the repo's history; one that was never published can be made again: bakehouse root next")
	}
	if r.Complete() {
		return nil
	}
	var lacks []string
	for _, q := range r.quorums {
		if !q.met() {
			lacks = append(lacks, q.named(c.name).String())
		}
	}
	return fault.Hint(fmt.Errorf("%s is not complete: %s", r, strings.Join(lacks, "; ")),
		"who holds one of the keys adds a signature: bakehouse root sign")
}

// holders returns the keys that may sign r, under the names by which a keyring finds them: those in keys/, and those
// that only a root still knows, whose private half is private or the name with ".key".
func (c *Chain) holders(r *Root, f *fleet.Fleet, private string) (map[string]*fleet.Key, error) {
	known := map[string]*fleet.Key{}
	for _, key := range keys.Sorted(f) {
		id, err := keys.ID(key)
		if err != nil {
			return nil, err
		}
		known[id] = key
	}
	holders := map[string]*fleet.Key{}
	for _, id := range r.may() {
		if known[id] != nil {
			holders[id] = known[id]
			continue
		}
		tuf := r.md.Signed.Keys[id]
		if tuf == nil {
			tuf = c.roots[r.Version-2].md.Signed.Keys[id]
		}
		pub, err := tuf.ToPublicKey()
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", c.name(id), err)
		}
		text, err := cryptoutils.MarshalPublicKeyToPEM(pub)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", c.name(id), err)
		}
		name, _, _ := strings.Cut(c.name(id), " ") // without the id of an older key of that name
		key := &fleet.Key{Name: name, Public: string(text), Uses: []string{fleet.UseRoot}, Private: private}
		if key.Private == "" {
			key.Private = keys.FileName(name)
		}
		if f.Keys[name] != nil {
			key.Name = fmt.Sprintf("%s-%.8s", name, id)
		}
		holders[id] = key
	}
	return holders, nil
}

// arrange puts r's signatures in order, with an empty one for each key that has not signed, and returns the file.
func (r *Root) arrange(signed []metadata.Signature) ([]byte, error) {
	ids := r.may()
	md := *r.md
	md.Signatures = nil
	for _, id := range ids {
		s := metadata.Signature{KeyID: id, Signature: metadata.HexBytes{}}
		if i := slices.IndexFunc(signed, func(s metadata.Signature) bool { return s.KeyID == id }); i >= 0 {
			s = signed[i]
		}
		md.Signatures = append(md.Signatures, s)
	}
	b, err := md.ToBytes(true) // for people to review
	return append(b, '\n'), err
}

// Check says what reconcile would refuse of trust/: roots that do not verify or lack signatures, and a newest one that
// disagrees with keys/.
func Check(f *fleet.Fleet) fleet.Problems {
	if len(f.Roots) == 0 {
		return nil
	}
	problem := func(file string, err error) fleet.Problems {
		msg := strings.TrimPrefix(err.Error(), file+": ")
		return fleet.Problems{{Pos: fleet.Pos{File: file}, Msg: msg, Hint: fault.HintOf(err)}}
	}
	c, err := Read(f)
	if err != nil {
		return problem("trust", err)
	}
	for _, r := range c.roots {
		if err := c.verify(r); err != nil {
			return problem(r.path(), err)
		}
	}
	if err := Agree(c.Newest().md, f); err != nil {
		return problem(c.Newest().path(), err)
	}
	return nil
}

// Verify returns the newest root in trust/, unless something is wrong with it: a chain that does not verify or is
// not complete, and keys/ that say otherwise.
func Verify(f *fleet.Fleet) (*metadata.Metadata[metadata.RootType], error) {
	if len(f.Roots) == 0 {
		return nil, errNoRoot()
	}
	c, err := Read(f)
	if err == nil {
		err = c.Verify(len(c.roots))
	}
	if err != nil {
		return nil, err
	}
	root, err := trust.VerifyRoots(f.Roots)
	if err != nil {
		return nil, fmt.Errorf("trust/: %w", err)
	}
	return root, nil
}

// ErrNoRoot is the error of a fleet without a root.
var ErrNoRoot = errors.New("the repo has no trust/1.root.json")

func errNoRoot() error {
	return fault.Hint(ErrNoRoot, "restore it from git if the fleet had one; for a new fleet: bakehouse root init")
}

// Same reports whether two files hold the same root: one may have a signature more.
func Same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err1 := trust.ReadRoot(a)
	y, err2 := trust.ReadRoot(b)
	if err1 != nil || err2 != nil {
		return false
	}
	m, err1 := x.Signed.MarshalJSON()
	n, err2 := y.Signed.MarshalJSON()
	return err1 == nil && err2 == nil && bytes.Equal(m, n)
}
