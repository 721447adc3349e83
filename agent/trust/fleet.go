package trust

import (
	"context"
	"errors"
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
	c.marks.raiseFloor(p.Issued, rootAuthority(set.Root, metadata.TARGETS), targets)
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

func binOf(targets *metadata.Metadata[metadata.TargetsType], target string) string {
	return targets.Signed.Delegations.SuccinctRoles.GetRolesForTarget(target)[0].Name
}

// BinOf names the role that lists the host's package, such as "bin-0a"; empty before the first Refresh.
func (c *Client) BinOf(host string) string {
	v := c.cur.Load()
	if v == nil {
		return ""
	}
	return binOf(v.targets, schema.PackageTarget(host))
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
	target := schema.PackageTarget(host)
	t, err := find(ctx, target, func(ctx context.Context, role, _ string) (*metadata.Metadata[metadata.TargetsType], error) {
		return c.bin(ctx, src, v, role)
	})
	if errors.Is(err, ErrNoTarget) {
		return nil, fmt.Errorf("host %s: %w", host, ErrNoTarget)
	}
	if err != nil {
		return nil, err
	}
	return assignment(t, target, host)
}

// bin returns targets or a verified bin of v. Only targets delegates to bins (checkBins), so one that is there was
// verified on its word. c.mu is held.
func (c *Client) bin(ctx context.Context, src Source, v *view, name string) (*metadata.Metadata[metadata.TargetsType], error) {
	if err := c.readTree(ctx, src, v); err != nil {
		return nil, err
	}
	if md := v.set.Targets[name]; md != nil {
		return md, c.fresh(name, md.Signed.Expires, c.believed(v.set.Root))
	}
	by, err := delegated(v.targets, name)
	if err != nil {
		return nil, err
	}
	sum, err := c.takeRole(ctx, src, v.set, name, metadata.TARGETS, by)
	if err == nil {
		err = v.admit(name, sum)
	}
	if err != nil {
		delete(v.set.Targets, name)
		return nil, err
	}
	return v.set.Targets[name], c.save()
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
	roles := append(v.targets.Signed.Delegations.SuccinctRoles.GetRoles(), metadata.TARGETS)
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
	for role, sum := range v.sums {
		if l, ok := t.Line(role); ok && l.SHA256 != sum {
			// Carried over from the state before, where it stood under the same version: it is read again, and judged.
			delete(v.set.Targets, role)
			delete(v.sums, role)
		}
	}
	return nil
}

// admit notes the file of a role, if it is the one that the snapshot's tree names.
func (v *view) admit(role string, sum schema.Digest) error {
	if v.tree != nil {
		if l, _ := v.tree.Line(role); l.SHA256 != sum {
			err := &schema.AlteredError{Object: fmt.Sprintf("%d.%s.json", l.Version, role), Want: l.SHA256, Got: sum}
			return fault.Refuse(fmt.Errorf("%s names another file: %w", snapshotFile, err),
				"somebody signed two files under one version: others see another release; find out who has the key")
		}
	}
	v.sums[role] = sum
	return nil
}

// Bin yields what All does of one bin, such as "bin-0a".
func (c *Client) Bin(ctx context.Context, src Source, name string) ([]*schema.Assignment, error) {
	c.mu.Lock()
	v, err := c.ready()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return c.allOf(ctx, src, v, name)
}

// All yields every host's assignment, bin by bin, hosts in order within each. After an error it stops.
func (c *Client) All(ctx context.Context, src Source) iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) {
		c.mu.Lock()
		v, err := c.ready()
		if err == nil {
			err = c.loadBins(ctx, src, v)
		}
		c.mu.Unlock()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, name := range v.set.Targets[metadata.TARGETS].Signed.Delegations.SuccinctRoles.GetRoles() {
			as, err := c.allOf(ctx, src, v, name)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, a := range as {
				if !yield(a, nil) {
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
	top := v.set.Targets[metadata.TARGETS]
	names := slices.DeleteFunc(top.Signed.Delegations.SuccinctRoles.GetRoles(), func(name string) bool { return v.set.Targets[name] != nil })
	by, err := delegated(top, schema.BinPrefix)
	if err != nil {
		return err
	}
	verified, errs := make([]*metadata.Metadata[metadata.TargetsType], len(names)), make([]error, len(names))
	sums := make([]schema.Digest, len(names))
	var next atomic.Int64
	var failed atomic.Bool
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(names)) {
		workers.Go(func() {
			// go-tuf's set is for one goroutine. What this one shares with the others is only read.
			set := *v.set
			for i := int(next.Add(1)) - 1; i < len(names) && !failed.Load(); i = int(next.Add(1)) - 1 {
				set.Targets = map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: top}
				if sums[i], errs[i] = c.takeRole(ctx, src, &set, names[i], metadata.TARGETS, by); errs[i] != nil {
					failed.Store(true)
				}
				verified[i] = set.Targets[names[i]]
			}
		})
	}
	workers.Wait()
	for i, name := range names {
		if errs[i] != nil {
			return errs[i]
		}
		if verified[i] == nil {
			continue
		}
		if err := v.admit(name, sums[i]); err != nil {
			return err
		}
		v.set.Targets[name] = verified[i]
	}
	return nil
}

// carry takes over the bins of the view before that are the same in v: delegated in the same words, listed in the same
// version. A server reads all of them, and most releases change a few.
func (v *view) carry(before *view) {
	if before == nil || !reflect.DeepEqual(before.targets.Signed.Delegations, v.targets.Signed.Delegations) {
		return
	}
	for name, md := range before.set.Targets {
		file := name + ".json"
		if meta := v.set.Snapshot.Signed.Meta[file]; name != metadata.TARGETS && reflect.DeepEqual(meta, before.set.Snapshot.Signed.Meta[file]) {
			v.set.Targets[name], v.sums[name] = md, before.sums[name]
		}
	}
}

func (c *Client) allOf(ctx context.Context, src Source, v *view, bin string) ([]*schema.Assignment, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	md, err := c.bin(ctx, src, v, bin)
	if err != nil {
		return nil, err
	}
	return Assignments(md, func(target string) string { return binOf(v.set.Targets[metadata.TARGETS], target) }, bin)
}

// Assignments reads all of a verified bin. A host would never look for a target outside the bin its path hashes to, so
// one that stands elsewhere is refused rather than seen by some and not by others.
func Assignments(md *metadata.Metadata[metadata.TargetsType], binOf func(target string) string, bin string) ([]*schema.Assignment, error) {
	var as []*schema.Assignment
	for _, target := range slices.Sorted(maps.Keys(md.Signed.Targets)) {
		host, ok := strings.CutSuffix(target, schema.PackageTarget(""))
		if !ok || binOf(target) != bin {
			return nil, foreign(target, bin)
		}
		a, err := assignment(md.Signed.Targets[target], target, host)
		if err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return as, nil
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
