// Package desired says what a commit of the fleet repository, or its work tree, wants: which package each host is to
// have, and the policy and root of trust that go with it.
//
// Pin opens a state without looking into its files, so that whoever publishes can first check who signed the commit.
// Evaluate then turns the files into a fleet and resolves each of its hosts. At does both. Top and Anchor read only
// what verifies a published release: keys and roots, or the first root.
package desired

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Where says which state of a fleet repository is meant.
type Where struct {
	Repo     string // directory
	Ref      string // branch, tag or commit
	Worktree bool   // the files as they are in the directory, committed or not; Ref does not count then
}

// State is a state of the fleet repository.
type State struct {
	Name     string           // for people: "commit 0123456789ab"
	Repo     *source.Repo     // nil: files of a directory
	Revision *source.Revision // nil likewise
	Files    fs.FS
	Cache    *cache.Cache // of what was evaluated before; may be nil
	dir      string       // of a work tree

	// These are there after Evaluate.

	Fleet    *fleet.Fleet
	Resolved *rules.Resolved
	Hosts    map[string]plan.Desired // what it wants for each host that a package can be made for
}

// Pin opens a state and evaluates nothing. What was evaluated before is looked for in cache, which may be nil.
func Pin(w Where, cache *cache.Cache) (*State, error) {
	if w.Worktree {
		return worktree(w.Repo, cache)
	}
	repo, err := source.Open(w.Repo)
	if err != nil {
		return nil, err
	}
	return pin(repo, w.Ref, cache)
}

func pin(repo *source.Repo, ref string, cache *cache.Cache) (*State, error) {
	rev, err := repo.Revision(ref)
	if err != nil {
		return nil, err
	}
	return AtRevision(repo, rev, cache), nil
}

// AtRevision is the state of a commit that is pinned already; nothing is evaluated.
func AtRevision(repo *source.Repo, rev *source.Revision, cache *cache.Cache) *State {
	name := fmt.Sprintf("commit %.12s", rev.Commit)
	return &State{Name: name, Repo: repo, Revision: rev, Files: rev.FS, Cache: cache}
}

func worktree(dir string, cache *cache.Cache) (*State, error) {
	dir = source.Folder(dir)
	files, err := source.Worktree(dir)
	if err != nil {
		return nil, err
	}
	return &State{Name: "the files in " + dir, Files: files, Cache: cache, dir: dir}, nil
}

// At pins a state and evaluates it.
func At(ctx context.Context, w Where, cache *cache.Cache) (*State, error) {
	s, err := Pin(w, cache)
	if err != nil {
		return nil, err
	}
	return s, s.Evaluate(ctx)
}

// Edited is the work tree in a directory as it would be with other text in one of its files, evaluated.
func Edited(ctx context.Context, dir, file string, text []byte) (*State, error) {
	s, err := worktree(dir, nil)
	if err != nil {
		return nil, err
	}
	s.Files = edited{s.Files, file, text}
	return s, s.Evaluate(ctx)
}

// Yields is what a commit yields, with a package for each of its hosts. Nothing that was evaluated before counts:
// whoever wants to know what a commit yields must not be told by a cache.
func Yields(ctx context.Context, repo, commit string) (*State, error) {
	r, err := source.Open(repo)
	if err != nil {
		return nil, err
	}
	s, err := pin(r, commit, nil)
	if err != nil {
		return nil, fault.Hint(err, "fetch the commit (git fetch --unshallow), or set another with --ref")
	}
	if err := s.Evaluate(ctx); err != nil {
		return nil, err
	}
	return s, s.Complete()
}

// Earlier is a commit that was published before, evaluated. It is nil if commit is empty, if the repository does not
// have it (a shallow clone, or history was rewritten) or if this version cannot evaluate it any more.
func Earlier(ctx context.Context, repo *source.Repo, commit string, cache *cache.Cache) (*State, error) {
	if commit == "" {
		return nil, nil
	}
	s, err := pin(repo, commit, cache)
	if err != nil {
		return nil, nil
	}
	err = s.Evaluate(ctx)
	var problems fleet.Problems
	if errors.As(err, &problems) {
		return nil, nil
	}
	return s, err
}

// Evaluate fills in what follows from the files. Errors in them are fleet.Problems.
func (s *State) Evaluate(ctx context.Context) error {
	repo, err := s.Load(ctx)
	if err != nil {
		return err
	}
	s.Fleet = repo.Fleet
	if s.Resolved, err = rules.Resolve(ctx, s.Fleet, repo); err != nil {
		return s.complain(err)
	}
	s.recall(s.Resolved.Missing)
	s.Hosts = make(map[string]plan.Desired, len(s.Resolved.Hosts))
	for name, h := range s.Resolved.Hosts {
		if h.Lacks != "" {
			continue
		}
		s.Hosts[name] = plan.Desired{
			Package: plan.Package{Recipe: h.Recipe.ID, Platform: h.Platform, Format: h.Format, Bake: bake.Version,
				Anchor: s.Anchor()},
			Site: h.Site, Ring: h.Ring, Selected: h.Selected,
			Was: strings.Join(h.Host.Was, ","),
		}
	}
	return nil
}

// Load evaluates the files, and resolves no host.
func (s *State) Load(ctx context.Context) (*evaluate.Repo, error) {
	if err := s.fleetless(); err != nil {
		return nil, err
	}
	repo, err := evaluate.Load(ctx, s.Files, s.Cache)
	return repo, s.complain(err)
}

// complain is err, or the one error that the repository lacks objects, of which many files could complain.
func (s *State) complain(err error) error {
	if s.Revision != nil && err != nil {
		if missing := s.Revision.Missing(); missing != nil {
			return missing
		}
	}
	return err
}

// Complete is an error if no package can be built for some host.
func (s *State) Complete() error {
	if missing := s.Resolved.Missing; len(missing) > 0 {
		return missing
	}
	return nil
}

// Commit is the commit's hash, empty for files of a directory or no state at all.
func (s *State) Commit() string {
	if s == nil || s.Revision == nil {
		return ""
	}
	return s.Revision.Commit
}

// Anchor is the digest of the root that packages carry.
func (s *State) Anchor() schema.Digest { return schema.DigestOf(s.Fleet.Anchor()) }

// Policy is what goes into the signed policy.
func (s *State) Policy() schema.Policy {
	rollout := s.Fleet.Rollout
	policy := schema.Policy{Schema: schema.PolicySchema, Fleet: s.Fleet.Name, Enabled: rollout.Enabled,
		Revoked: rollout.Revoked, MaxHold: rollout.MaxHold, Sites: s.Fleet.Sites, Downloads: s.Fleet.Downloads}
	for _, r := range rollout.Rings {
		policy.Rings = append(policy.Rings, r.Ring)
	}
	return policy
}

// Access is what goes into the signed access target, which only servers read; nil if there is nothing to say.
func (s *State) Access() *schema.Access {
	after := make(map[string]schema.Duration, len(s.Resolved.Hosts))
	for name, h := range s.Resolved.Hosts {
		after[name] = h.RetireAfter
	}
	access := s.Fleet.Access
	if access.Retirement = schema.NewRetirement(after); access.Retirement == nil && len(access.Users) == 0 {
		return nil
	}
	return &access
}

// maxDirty bounds how many files NoteDirty names.
const maxDirty = 5

// NoteDirty writes to log which files of the work tree are not part of the commit. It is a note only: what keeps it
// from being made fails nothing.
func (s *State) NoteDirty(log io.Writer) {
	if s.Revision == nil {
		return
	}
	left, err := s.Repo.Dirty(s.Revision.Folder)
	if err != nil {
		console.Note(log, "reading %s; what of the work tree is not in it is not known: %v", s.Name, err)
	}
	for _, part := range []struct {
		what  string
		files []string
	}{{"left by a merge that is not finished (unmerged)", left.Unmerged}, {"not in it", left.Changed}} {
		if len(part.files) > 0 {
			console.Note(log, "reading %s; %s: %s", s.Name, part.what, shortened(part.files))
		}
	}
}

func shortened(files []string) string {
	more := ""
	if len(files) > maxDirty {
		more = fmt.Sprintf(" and %d more", len(files)-maxDirty)
		files = files[:maxDirty]
	}
	return strings.Join(files, ", ") + more
}
