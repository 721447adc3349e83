package trust

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/bits"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/tree"
)

// takePolicy reads the policy and checks that targets are laid out as the root says: one fleet, its bins.
func (c *Client) takePolicy(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata) (*schema.Policy, error) {
	targets := set.Targets[metadata.TARGETS]
	info, ok := Info(set.Root)
	if err := checkBins(targets, info); err != nil {
		return nil, err
	}
	b, err := c.content(ctx, src, set, schema.PolicyTarget)
	if err != nil {
		return nil, err
	}
	var p schema.Policy
	if err := schema.Decode(b, &p); err != nil {
		return nil, refuse("target policy: %w", err)
	}
	if p.Schema != schema.PolicySchema {
		return nil, fault.Hint(fmt.Errorf("policy: schema %d, this program reads %d", p.Schema, schema.PolicySchema),
			"install the host program that this fleet pins")
	}
	if ok && p.Fleet != info.Fleet {
		return nil, refuse("policy belongs to fleet %.80q, the root to %.80q", p.Fleet, info.Fleet)
	}
	c.marks.raiseFloor(p.Issued, quorum.OfRoot(set.Root, metadata.TARGETS), targets)
	return &p, nil
}

// checkBins accepts exactly one way of delegating: as many hashed bins as the root says, each terminating. go-tuf would
// prefer named roles if both were there, and keeps a role once loaded without asking who delegated it this time.
func checkBins(targets *metadata.Metadata[metadata.TargetsType], info RootInfo) error {
	d := targets.Signed.Delegations
	if d == nil || d.SuccinctRoles == nil || d.Roles != nil {
		return refuse("%s: does not delegate to hashed bins alone", targetsFile)
	}
	s := d.SuccinctRoles
	if s.NamePrefix != schema.BinPrefix || s.BitLength < 1 || 1<<s.BitLength > MaxBins ||
		bits.OnesCount(uint(info.Bins)) != 1 || 1<<s.BitLength != info.Bins {
		return refuse("%s: 2^%d bins %.20q, the root says %d", targetsFile, s.BitLength, s.NamePrefix, info.Bins)
	}
	return nil
}

// BinOf names the role that lists the host's package, such as "bin-0a"; empty before the first Refresh.
func (c *Client) BinOf(host string) string {
	v := c.cur.Load()
	if v == nil {
		return ""
	}
	return v.layout.Of(host)
}

// ready returns the state that Refresh made, if nothing in it has expired since. c.mu is held.
func (c *Client) ready() (*view, error) {
	v := c.cur.Load()
	if v == nil || !v.refreshed {
		return nil, ErrNotLoaded
	}
	now := c.believed(v.set.Root)
	if err := c.fresh(metadata.ROOT, v.set.Root.Signed.Expires, now); err != nil {
		return nil, err
	}
	if err := c.fresh(metadata.TIMESTAMP, v.set.Timestamp.Signed.Expires, now); err != nil {
		return nil, err
	}
	if err := c.fresh(metadata.SNAPSHOT, v.set.Snapshot.Signed.Expires, now); err != nil {
		return nil, err
	}
	return v, c.fresh(metadata.TARGETS, v.set.Targets[metadata.TARGETS].Signed.Expires, now)
}

// Release reads the verified target "release"; ErrNoTarget if there is none.
func (c *Client) Release(ctx context.Context, src Source) (*schema.Release, error) {
	return target[schema.Release](ctx, c, src, schema.ReleaseTarget)
}

// Access reads the verified target "access"; ErrNoTarget if there is none.
func (c *Client) Access(ctx context.Context, src Source) (*schema.Access, error) {
	return target[schema.Access](ctx, c, src, schema.AccessTarget)
}

// About reads the verified target "about"; ErrNoTarget if there is none.
func (c *Client) About(ctx context.Context, src Source) (*schema.About, error) {
	return target[schema.About](ctx, c, src, schema.AboutTarget)
}

func target[T any](ctx context.Context, c *Client, src Source, name string) (*T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.ready()
	if err != nil {
		return nil, err
	}
	b, err := c.content(ctx, src, v.set, name)
	if err != nil {
		return nil, err
	}
	t := new(T)
	if err := schema.Decode(b, t); err != nil {
		return nil, refuse("target %s: %w", name, err)
	}
	return t, nil
}

// Assignment reads what the host is given, from its bin; ErrNoTarget if the fleet has nothing for it.
func (c *Client) Assignment(ctx context.Context, src Source, host string) (*schema.Assignment, error) {
	if err := schema.CheckHostName(host); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.ready()
	if err != nil {
		return nil, err
	}
	b, err := c.bin(ctx, src, v, v.layout.Number(host))
	if err != nil {
		return nil, err
	}
	a, err := b.Find(host)
	if a == nil && err == nil {
		err = fmt.Errorf("host %s: %w", host, ErrNoTarget)
	}
	return a, err
}

// bin returns a verified bin of v by its number. c.mu is held.
func (c *Client) bin(ctx context.Context, src Source, v *view, number int) (*bins.Bin, error) {
	if err := c.readTree(ctx, src, v); err != nil {
		return nil, err
	}
	name := v.layout.Names()[number]
	if b := v.bins[name]; b != nil {
		return b, c.fresh(name, b.Expires, c.believed(v.set.Root))
	}
	b, err := c.takeBin(ctx, src, v, number)
	if err == nil {
		err = v.admit(name, b.SHA256)
	}
	if err != nil {
		return nil, err
	}
	v.bins[name] = b
	return b, c.save()
}

// takeBin loads a bin that v lacks. A file of the form that reconcile writes is verified as it stands, any other by
// go-tuf. Bins may be loaded at the same time: what they share is only read.
func (c *Client) takeBin(ctx context.Context, src Source, v *view, number int) (*bins.Bin, error) {
	role := v.layout.Names()[number]
	meta := v.set.Snapshot.Signed.Meta[role+".json"]
	if meta == nil || meta.Version < 1 {
		return nil, refuse("%s: does not list %.80s", snapshotFile, role)
	}
	if src != nil {
		if err := c.marks.below(role, meta.Version, v.by); err != nil {
			return nil, err
		}
	}
	line, ok := v.tree.Line(role)
	if ok && c.memory != nil && meta.Length == 0 && len(meta.Hashes) == 0 {
		if b := bins.Recall(c.memory, line.SHA256, number, v.layout, v.verifier); b != nil && b.Version == meta.Version {
			return b, c.fresh(role, b.Expires, c.believed(v.set.Root))
		}
	}
	var b *bins.Bin
	take := func(name string, file []byte) (err error) {
		if meta.VerifyLengthHashes(file) == nil {
			if b, ok = bins.Read(file, number, v.layout, v.verifier); ok && b.Version == meta.Version {
				if c.memory != nil {
					b.Remember(c.memory, number, v.layout, v.verifier)
				}
				return nil
			}
		}
		b, err = v.readBin(name, file, role)
		return err
	}
	_, err := c.load(ctx, src, v.set, role, meta.Version, schema.MaxTargets, take, func() error {
		if src != nil {
			if err := c.fresh(role, b.Expires, c.believed(v.set.Root)); err != nil {
				return err
			}
		}
		if c.dir != nil {
			// Who reads all bins and forgets them at exit has their versions from the snapshot's mark.
			c.marks.raise(role, b.Version, v.by, func() []string { return b.Signers }, nil)
		}
		return nil
	})
	return b, err
}

// readBin verifies a bin's file of any form that TUF allows.
func (v *view) readBin(name string, file []byte, role string) (*bins.Bin, error) {
	set := *v.set // go-tuf's set is for one goroutine
	set.Targets = map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: v.targets}
	var md *metadata.Metadata[metadata.TargetsType]
	err := guarded(name, file, func() (err error) {
		if md, err = set.UpdateDelegatedTargets(file, role, metadata.TARGETS); err == nil {
			err = isRole(md, role)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	b := &bins.Bin{Version: md.Signed.Version, Expires: md.Signed.Expires, SHA256: schema.DigestOf(file),
		Signers: v.by.Signers(md)}
	for _, target := range slices.Sorted(maps.Keys(md.Signed.Targets)) {
		host, ok := strings.CutSuffix(target, schema.PackageTarget(""))
		var a *schema.Assignment
		// A host would never look for a target outside the bin that its path hashes to.
		err := refuse("%s: target %.80q does not belong here", role, target)
		if ok && v.layout.Of(host) == role {
			a, err = assignment(md.Signed.Targets[target], target, host)
		}
		if err != nil {
			b.Odd = append(b.Odd, bins.Odd{Target: target, Err: err})
			continue
		}
		b.Hosts = append(b.Hosts, *a)
	}
	return b, nil
}

// A fleet's snapshot says which version each bin has, and by its tree (package tree) which bytes. Who reads more of a
// release than one host's part, a publisher or server, so knows that all see the same bins. A host has a directory and
// reads one bin; it reports what it verified instead.

// IgnoreTree makes the client read bins whatever the snapshot's tree says of them. It is for recovery from a stolen
// snapshot key, when nothing that is read is carried forward but numbers.
func (c *Client) IgnoreTree() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noTree = true
}

// readTree reads the lines of v's tree and holds what v has against them. A client with a directory does without. c.mu
// is held.
func (c *Client) readTree(ctx context.Context, src Source, v *view) error {
	if c.dir != nil || c.noTree || v.tree != nil {
		return nil
	}
	root, err := tree.Signed(v.set.Snapshot.Signed.UnrecognizedFields)
	if err != nil {
		return refuse("%s: %w", snapshotFile, err)
	}
	b, err := src.Tree(ctx, root, schema.MaxTree)
	if err != nil {
		return unreachable("tree of the snapshot", err)
	}
	t, err := tree.Decode(b, root)
	if err != nil {
		return fault.Refuse(err, "the store is altered or damaged: run `bakehouse store fsck`")
	}
	roles := append(slices.Clone(v.layout.Names()), metadata.TARGETS)
	if len(t) != len(roles) {
		return refuse("%s: its tree has %d lines, and there are targets and %d bins", snapshotFile, len(t),
			len(roles)-1)
	}
	for _, role := range roles {
		l, _ := t.Line(role)
		if meta := v.set.Snapshot.Signed.Meta[role+".json"]; meta == nil || meta.Version != l.Version {
			return refuse("%s: it lists %s in another version than its tree", snapshotFile, role)
		}
	}
	v.tree = t
	if err := v.admit(metadata.TARGETS, v.sums[metadata.TARGETS]); err != nil {
		return err
	}
	for role, b := range v.bins {
		if l, ok := t.Line(role); ok && l.SHA256 != b.SHA256 {
			// Carried over from the state before, where it stood under the same version: it is read again, and judged.
			delete(v.bins, role)
		}
	}
	return nil
}

// admit refuses the file of a role if it is not the one that the snapshot's tree names.
func (v *view) admit(role string, sum schema.Digest) error {
	if v.tree != nil {
		if l, _ := v.tree.Line(role); l.SHA256 != sum {
			err := &schema.AlteredError{Object: fmt.Sprintf("%d.%s.json", l.Version, role), Want: l.SHA256, Got: sum}
			return fault.Refuse(fmt.Errorf("%s names another file: %w", snapshotFile, err),
				"somebody signed two files under one version: others see another release; find out who has the key")
		}
	}
	return nil
}

// Bin yields what All does of one bin, such as "bin-0a".
func (c *Client) Bin(ctx context.Context, src Source, name string) ([]*schema.Assignment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.ready()
	if err != nil {
		return nil, err
	}
	number := slices.Index(v.layout.Names(), name)
	if number < 0 {
		return nil, refuse("nothing is delegated to %.80q", name)
	}
	b, err := c.bin(ctx, src, v, number)
	if err != nil {
		return nil, err
	}
	return b.All()
}

// Bins returns all bins, in order. An error is also a target in one of them that gives nothing to any host.
func (c *Client) Bins(ctx context.Context, src Source) ([]*bins.Bin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.ready()
	if err != nil {
		return nil, err
	}
	if err := c.loadBins(ctx, src, v); err != nil {
		return nil, err
	}
	all := make([]*bins.Bin, len(v.layout.Names()))
	for i := range all {
		if all[i], err = c.bin(ctx, src, v, i); err == nil && len(all[i].Odd) > 0 {
			err = all[i].Odd[0].Err
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// All yields every host's assignment, bin by bin, hosts in order within each; or one error. They must not be changed.
func (c *Client) All(ctx context.Context, src Source) iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) {
		all, err := c.Bins(ctx, src)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, b := range all {
			for i := range b.Hosts {
				if !yield(&b.Hosts[i], nil) {
					return
				}
			}
		}
	}
}

// loadBins verifies all bins that v lacks, as many at a time as there are processors: reading them is most of what a
// server or publisher of a large fleet does. A client with a directory, which is a host, reads one and does without. c.mu
// is held.
func (c *Client) loadBins(ctx context.Context, src Source, v *view) error {
	if c.dir != nil {
		return nil
	}
	if err := c.readTree(ctx, src, v); err != nil {
		return err
	}
	names := v.layout.Names()
	verified, errs := make([]*bins.Bin, len(names)), make([]error, len(names))
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names) && !failed.Load(); i = int(next.Add(1)) - 1 {
				if v.bins[names[i]] != nil {
					continue
				}
				b, err := c.takeBin(ctx, src, v, i)
				if err == nil {
					err = v.admit(names[i], b.SHA256)
				}
				if verified[i], errs[i] = b, err; err != nil {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	for i, name := range names {
		if errs[i] != nil {
			return errs[i]
		}
		if verified[i] != nil {
			v.bins[name] = verified[i]
		}
	}
	return nil
}

// carry takes over the bins of the view before that are the same in v: delegated in the same words, listed in the same
// version. A server reads all of them, and most releases change a few.
func (v *view) carry(before *view) {
	if before == nil || !reflect.DeepEqual(before.targets.Signed.Delegations, v.targets.Signed.Delegations) {
		return
	}
	for name, b := range before.bins {
		file := name + ".json"
		if reflect.DeepEqual(v.set.Snapshot.Signed.Meta[file], before.set.Snapshot.Signed.Meta[file]) {
			v.bins[name] = b
		}
	}
}

func assignment(t *metadata.TargetFiles, target, host string) (*schema.Assignment, error) {
	d, n, err := onlyDigest(t, target)
	if err != nil {
		return nil, err
	}
	custom := t.Custom
	if custom == nil {
		return nil, refuse("target %.80q: no custom data", target)
	}
	a := &schema.Assignment{Host: host, SHA256: d, Length: n}
	if err := schema.Decode(*custom, &a.Target); err != nil {
		return nil, refuse("target %.80q: %w", target, err)
	}
	if err := a.Validate(); err != nil {
		return nil, refuse("%w", err)
	}
	return a, nil
}

// isRole refuses md in another role's place.
func isRole(md *metadata.Metadata[metadata.TargetsType], role string) error {
	if name := bins.RoleName(md); name != role {
		return refuse("%s: it is %.80q instead", role, name)
	}
	if role != metadata.TARGETS && md.Signed.Delegations != nil {
		return refuse("%s: a bin delegates to nobody", role)
	}
	return nil
}
