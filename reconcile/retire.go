package reconcile

import (
	"context"
	"fmt"
	"io"
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
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// retirement is `key retire`.
type retirement struct {
	repo, location string
	strand         int
	updated        bool
	now            time.Time
}

// RetireCommand is `bakehouse key retire`.
func RetireCommand() *cobra.Command {
	var r retirement
	cmd := &cobra.Command{
		Use:   "retire NAME",
		Short: "End the use of a key, unless that strands hosts",
		Long: `Write into keys/NAME.cue that the key is retired. From the commit of that on it signs nothing, and new packages do not
accept it. What it has signed stays valid where it is accepted.

A host judges the next package by the rules of the one that it runs. Hosts that would not find enough signatures there without
the key are listed: by what is published for them, by the older candidates that they may still run (not with --updated), and
by the rules in the repo. Nothing is written then, unless --strand says exactly how many they are.

A rule that names the key is an error, at its place: take the key out of it first. A retired key that signs metadata (root,
targets, snapshot, timestamp) needs a next root: bakehouse root next.`,
		Example: "  bakehouse key retire release-2026 --store /srv/bakehouse\n  bakehouse key retire stolen --store /srv/bakehouse --strand 2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.now = time.Now()
			return r.run(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&r.repo, "repo", ".", "work tree of the fleet repo")
	storeFlag(cmd, &r.location)
	cmd.Flags().IntVar(&r.strand, "strand", 0, "how many hosts this may leave without a valid signature: exactly as many as are listed")
	cmd.Flags().BoolVar(&r.updated, "updated", false, "every host has installed what is published for it, so older packages do not count")
	return cmd
}

// stranded are the hosts that would be left without a valid signature, and why.
type stranded map[string][]string

func (r retirement) run(ctx context.Context, name string, out io.Writer) error {
	path, text, err := r.edit(ctx, name)
	if err != nil {
		return err
	}
	after, err := r.after(ctx, path, text)
	if err != nil {
		return err
	}
	hosts, err := r.strands(ctx, after)
	if err != nil {
		return err
	}
	if len(hosts) != r.strand {
		return hosts.refuse(name, r.strand)
	}
	if err := durable.WriteFile(filepath.Join(r.repo, filepath.FromSlash(path)), text, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: key %s is retired (commit it, then reconcile)\n", path, name)
	var roles []string
	for _, use := range after.Fleet.Keys[name].Uses {
		if use != fleet.UsePackage {
			roles = append(roles, use)
		}
	}
	if len(roles) > 0 {
		fmt.Fprintf(out, "it may still sign %s until there is a root without it: bakehouse root next\n", strings.Join(roles, ", "))
	}
	return nil
}

// edit is the file of the key, as it will be.
func (r retirement) edit(ctx context.Context, name string) (path string, text []byte, err error) {
	fsys, err := source.Worktree(r.repo)
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
	if others := slices.DeleteFunc(slices.Collect(maps.Values(f.Keys)), func(k *fleet.Key) bool { return k == key || !signs(k) }); signs(key) && len(others) == 0 {
		return "", nil, fault.Hint(fmt.Errorf("key %s is the only one that signs packages", name), "first make the key that follows it: bakehouse key create NAME --use package")
	}
	was, err := fs.ReadFile(fsys, key.Pos.File)
	if err != nil {
		return "", nil, err
	}
	text, err = engine.RetireKey(key.Pos.File, was, name, r.now)
	return key.Pos.File, text, err
}

// after evaluates the repo as it will be. That some rule names the key is an error of that, at the rule.
func (r retirement) after(ctx context.Context, path string, text []byte) (*desired.State, error) {
	s, err := desired.Edited(ctx, r.repo, path, text)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("with the key retired the repo has errors:\n%w", err), "mend these first; nothing was written")
	}
	return s, nil
}

// strands finds the hosts that the keys which are left cannot reach.
func (r retirement) strands(ctx context.Context, after *desired.State) (stranded, error) {
	left := map[string]bool{} // public halves that sign packages
	for _, k := range after.Fleet.Keys {
		if k.Has(fleet.UsePackage) && !r.now.Before(k.NotBefore) && (k.Expires.IsZero() || r.now.Before(k.Expires)) {
			left[k.Public] = true
		}
	}
	found := stranded{}
	note := func(host, why string, by *accepts) {
		if !by.by(left) {
			found[host] = append(found[host], fmt.Sprintf("%s, which accepts %s", why, by))
		}
	}
	for name, h := range after.Resolved.Hosts {
		by, err := acceptsOfRecipe(h.Recipe)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", name, err)
		}
		note(name, "by the rules in the repo it gets a package", by)
	}
	st, err := store.OpenExisting(ctx, r.location)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("what hosts run is told by what is published: %w", err), "name the store: --store")
	}
	// The roots in the repo and the keys as they are now: retiring is not part of that yet.
	before, err := desired.Top(ctx, desired.Where{Repo: r.repo, Worktree: true})
	if err != nil {
		return nil, err
	}
	published, err := publish.Read(ctx, st, before, r.now)
	if err != nil {
		return nil, err
	}
	var from *desired.State // what is published, if the repo still has the commit
	if repo, err := source.Open(r.repo); err == nil {
		if from, err = desired.Earlier(ctx, repo, releasedCommit(published), nil); err != nil {
			return nil, err
		}
	}
	accepted := newAcceptance(st, from)
	for a := range assignments(published) {
		for i, c := range a.Candidates() {
			if i > 0 && r.updated {
				break
			}
			by, err := accepted.of(ctx, c)
			if err != nil {
				return nil, err
			}
			why := "it is given package " + c.SHA256.Short()
			if i > 0 {
				why = "it may still run package " + c.SHA256.Short()
			}
			note(a.Host, why, by)
		}
	}
	return found, nil
}

// maxStranded bounds how many hosts are listed.
const maxStranded = 50

func (s stranded) refuse(name string, allowed int) error {
	if len(s) == 0 {
		return fault.Hint(fmt.Errorf("retiring key %s strands no host, and --strand says %d", name, allowed), "leave --strand out")
	}
	var b strings.Builder
	for i, host := range slices.Sorted(maps.Keys(s)) {
		if i == maxStranded {
			fmt.Fprintf(&b, "\n  and %d more", len(s)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", host, strings.Join(s[host], "; "))
	}
	are := "are"
	if len(s) == 1 {
		are = "is"
	}
	return fault.Hint(fmt.Errorf("without key %s there %s %s that no valid signature would be left for, and --strand says %d:%s", name, are, console.Count(len(s), "host"), allowed, &b),
		"let them first install a package that accepts another key too (--updated once they have), or say --strand %d", len(s))
}
