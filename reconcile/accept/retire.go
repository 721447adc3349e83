package accept

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store/stores"
)

// Retirement ends the use of a key.
type Retirement struct {
	Repo, Store string // work tree; location
	Strand      int    // how many hosts this may leave without a signature that they accept
	Updated     bool   // every host has installed what is published for it
	Now         time.Time
}

// unreachable are the hosts that would be left without a valid signature, and why.
type unreachable map[string][]string

// Retired is a key whose file says from now on that it is retired.
type Retired struct {
	Key   string   `json:"key"`
	File  string   `json:"file"`
	Roles []string `json:"roles"` // that it may sign until there is a root without it
}

// Run writes into the key's file that it is retired, unless hosts become unreachable that r does not give up.
func (r Retirement) Run(ctx context.Context, name string) (*Retired, error) {
	path, text, err := r.edit(ctx, name)
	if err != nil {
		return nil, err
	}
	after, err := r.after(ctx, path, text)
	if err != nil {
		return nil, err
	}
	hosts, err := r.unreachable(ctx, after)
	if err != nil {
		return nil, err
	}
	if len(hosts) != r.Strand {
		return nil, hosts.refuse(name, r.Strand)
	}
	if err := durable.WriteFile(filepath.Join(r.Repo, filepath.FromSlash(path)), text, 0o644); err != nil {
		return nil, err
	}
	done := &Retired{Key: name, File: path, Roles: []string{}}
	for _, use := range after.Fleet.Keys[name].Uses {
		if slices.Contains(fleet.Roles, use) {
			done.Roles = append(done.Roles, use)
		}
	}
	return done, nil
}

// edit is the file of the key, as it will be.
func (r Retirement) edit(ctx context.Context, name string) (path string, text []byte, err error) {
	fsys, err := source.Worktree(r.Repo)
	if err != nil {
		return "", nil, err
	}
	f, err := evaluate.LoadTop(ctx, fsys)
	if err != nil {
		return "", nil, err
	}
	key := f.Keys[name]
	if key == nil {
		return "", nil, fault.Hint(fmt.Errorf("there is no key %.80q", name), "see bakehouse key list")
	}
	if !key.Retired.IsZero() {
		return "", nil, fmt.Errorf("key %s is retired since %s", name, key.Retired.UTC().Format(time.RFC3339))
	}
	signs := func(k *fleet.Key) bool { return k.Has(fleet.UsePackage) }
	if others := slices.DeleteFunc(slices.Collect(maps.Values(f.Keys)),
		func(k *fleet.Key) bool { return k == key || !signs(k) }); signs(key) && len(others) == 0 {
		return "", nil, fault.Hint(fmt.Errorf("key %s is the only one that signs packages", name),
			"first make the key that follows it: bakehouse key create NAME --use package")
	}
	was, err := fs.ReadFile(fsys, key.Pos.File)
	if err != nil {
		return "", nil, err
	}
	text, err = engine.RetireKey(key.Pos.File, was, name, r.Now)
	return key.Pos.File, text, err
}

// after evaluates the repo as it will be. That some rule names the key is an error of that, at the rule.
func (r Retirement) after(ctx context.Context, path string, text []byte) (*desired.State, error) {
	s, err := desired.Edited(ctx, r.Repo, path, text)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("with the key retired the repo has errors:\n%w", err),
			"fix these first; nothing was written")
	}
	return s, nil
}

// unreachable finds the hosts that the keys which are left cannot reach.
func (r Retirement) unreachable(ctx context.Context, after *desired.State) (unreachable, error) {
	found, err := newSearch(after, r.Now)
	if err != nil {
		return nil, err
	}
	st, err := stores.OpenExisting(ctx, r.Store)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("cannot tell what hosts run without what is published: %w", err),
			"name the store: --store")
	}
	// The roots in the repo and the keys as they are now: retiring is not part of that yet.
	before, err := desired.Top(ctx, desired.Where{Repo: r.Repo, Worktree: true})
	if err != nil {
		return nil, err
	}
	published, err := publish.Read(ctx, st, before, r.Now)
	if err != nil {
		return nil, err
	}
	var from *desired.State // what is published, if the repo still has the commit
	if repo, err := source.Open(r.Repo); err == nil {
		if from, err = desired.Earlier(ctx, repo, published.Commit(), nil); err != nil {
			return nil, err
		}
	}
	if err := found.published(ctx, published, NewFinder(st, from), !r.Updated); err != nil {
		return nil, err
	}
	hosts := unreachable{}
	for host, all := range found.found {
		for _, u := range all {
			hosts[host] = append(hosts[host], u.String())
		}
	}
	return hosts, nil
}

func (u unmet) String() string {
	why := "by the rules in the repo it gets a package"
	switch u.when {
	case plan.StrandedNow:
		why = "it is given package " + u.pkg.Short()
	case plan.StrandedPerhaps:
		why = "it may still run package " + u.pkg.Short()
	}
	return fmt.Sprintf("%s, which accepts %s", why, u.by)
}

// maxListed bounds how many hosts are listed.
const maxListed = 50

func (u unreachable) refuse(name string, allowed int) error {
	if len(u) == 0 {
		return fault.Hint(fmt.Errorf("retiring key %s strands no host, and --strand says %d", name, allowed),
			"leave --strand out")
	}
	var b strings.Builder
	for i, host := range slices.Sorted(maps.Keys(u)) {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(u)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", host, strings.Join(u[host], "; "))
	}
	are := "are"
	if len(u) == 1 {
		are = "is"
	}
	return fault.Hint(fmt.Errorf("without key %s there %s %s that no valid signature would be left for, and --strand "+
		"says %d:%s", name, are, console.Count(len(u), "host"), allowed, &b),
		"let them first install a package that accepts another key too (--updated once they have), or say --strand %d",
		len(u))
}
