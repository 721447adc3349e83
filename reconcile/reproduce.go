package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// reproduceOptions are the settings of `reproduce`.
type reproduceOptions struct {
	desired.Where
	location string
	commit   string // to look in; empty: the releases in the store
	file     string // to write the package to; empty: none
	programs program.Places
	jobs     int
}

// ReproduceCommand is `bakehouse reproduce`.
func ReproduceCommand() *cobra.Command {
	var o reproduceOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reproduce HASH",
		Short: "Say where an installed package comes from, and make it again byte for byte",
		Long: `Finds the package that a hash means among the releases that the store keeps, verified from the repository's
trust/1.root.json: release, commit and recipe, the hosts that were given it, who signed it, and every file in it with its
digest. The hash is the sha256 of a package or of its manifest, the first 16 digits of either, or a recipe; a host shows
its own with "bakehouse-agent status".

--bake FILE also writes the package: put together from the store, or baked again from the commit if its segments are gone.
In both cases it is written only if it has the digest that was asked for.

For a package whose release is not kept any more ("bakehouse store gc"), --commit names where to look: every package that
this commit yields is baked and compared.`,
		Example: `  bakehouse reproduce 1f0c3ab29e54d6b7
  bakehouse reproduce 1f0c3ab29e54d6b7 --bake web01.deb
  bakehouse reproduce 1f0c3ab29e54d6b7 --commit v2026.3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := reproduce(cmd.Context(), o, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil || o.file == "-" {
				return err
			}
			if asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), found)
			}
			var texts []string
			for _, origin := range found {
				texts = append(texts, origin.tell())
			}
			_, err = io.WriteString(cmd.OutOrStdout(), strings.Join(texts, "\n"))
			return err
		},
	}
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.location)
	o.programs.Flags(cmd)
	jobsFlag(cmd, &o.jobs)
	f := cmd.Flags()
	f.StringVar(&o.file, "bake", "", "write the package to this file, - for standard output instead of the report")
	f.StringVar(&o.commit, "commit", "", "look in what this commit yields, and not in the releases of the store")
	f.BoolVar(&asJSON, "json", false, "print an array of what was found, or the error, as JSON")
	return cmd
}

func reproduce(ctx context.Context, o reproduceOptions, text string, stdout, log io.Writer) (_ []*Origin, err error) {
	h, err := parseHash(text)
	if err != nil {
		return nil, err
	}
	if o.jobs, err = jobCount(o.jobs); err != nil {
		return nil, err
	}
	f, err := desired.Top(ctx, o.Where)
	if err != nil {
		return nil, err
	}
	st, err := store.OpenExisting(ctx, o.location)
	if err != nil {
		return nil, err
	}
	private, err := newScratch(st)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	r := &reproduction{reproduceOptions: o, store: st, private: private, log: log}
	found, err := r.find(ctx, f, h)
	if err != nil {
		return nil, err
	}
	if o.file != "" && len(found) > 1 {
		var digests []string
		for _, origin := range found {
			digests = append(digests, fmt.Sprintf("%s (%s %s)", origin.Package.Hex(), origin.Platform, origin.Format))
		}
		return nil, fault.Hint(fmt.Errorf("%s means %d packages", text, len(found)), "give one of %s", strings.Join(digests, ", "))
	}
	for _, origin := range found {
		if err := origin.signatures(ctx, st, f); err != nil {
			return nil, err
		}
		open, err := r.segments(ctx, origin)
		if err != nil {
			return nil, err
		}
		if origin.Files, err = listPackage(origin.manifest, open); errors.Is(err, contents.ErrFormat) {
			err = nil
		}
		if err != nil {
			return nil, err
		}
		switch o.file {
		case "":
		case "-":
			err = origin.manifest.Assemble(stdout, open)
		default:
			err = assembleTo(o.file, func(w io.Writer) error { return origin.manifest.Assemble(w, open) })
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// reproduction is one run of `reproduce`.
type reproduction struct {
	reproduceOptions
	store   store.Store
	private *scratch
	log     io.Writer
}

func (r *reproduction) find(ctx context.Context, f *fleet.Fleet, h hash) ([]*Origin, error) {
	if r.commit != "" {
		return r.inCommit(ctx, h, func(plan.Package) bool { return true })
	}
	found, err := trace(ctx, r.store, f.Roots[0], h)
	if err == nil && len(found) == 0 {
		err = fault.Hint(fmt.Errorf("no release that the store keeps gave %s to a host", h.text),
			"if an older one did, name its commit: bakehouse reproduce %s --commit REF", h.text)
	}
	return found, err
}

// inCommit bakes what a commit yields, as far as it is asked for, and returns the packages that h means.
func (r *reproduction) inCommit(ctx context.Context, h hash, only func(plan.Package) bool) ([]*Origin, error) {
	s, err := desired.Yields(ctx, r.Repo, r.commit)
	if err != nil {
		return nil, err
	}
	oven := newOven(s, r.private, r.programs, r.jobs, r.log)
	// A hash of 16 digits is most often a recipe, and then only that is to be baked.
	isRecipe := slices.ContainsFunc(slices.Collect(maps.Keys(oven.hostsOf)), func(p plan.Package) bool { return h.text == string(p.Recipe) })
	var want []plan.Package
	for p := range oven.hostsOf {
		if only(p) && (!isRecipe || h.text == string(p.Recipe)) {
			want = append(want, p)
		}
	}
	slices.SortFunc(want, func(a, b plan.Package) int { return strings.Compare(oven.hostsOf[a][0], oven.hostsOf[b][0]) })
	made := make([]*Origin, len(want))
	err = oven.each(ctx, want, func(i int, b *bake.Baked) error {
		if !h.means(b.Manifest.SHA256, b.Digest, b.Manifest.Recipe) {
			return nil
		}
		made[i] = describe(b.Manifest, b.Digest)
		made[i].Release = &schema.Release{Commit: s.Revision.Commit, Tree: s.Revision.Tree}
		for _, host := range oven.hostsOf[want[i]] {
			made[i].Hosts = append(made[i].Hosts, Given{Host: host})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(made, func(o *Origin) bool { return o == nil })
	if len(found) == 0 {
		return nil, fault.Hint(fmt.Errorf("none of the %s that %s yields is %s", console.Count(len(want), "package"), s.Name, h.text),
			"name another commit; with another version of bakehouse the same commit may yield other bytes (this one has bake version %d)", bake.Version)
	}
	return found, nil
}

// segments opens the segments of a package: from the store, or if any is gone there, baked again from the commit.
func (r *reproduction) segments(ctx context.Context, o *Origin) (func(schema.SegmentRef) (io.ReadCloser, error), error) {
	if r.commit != "" {
		return r.private.segments(ctx), nil // baked just now
	}
	for _, ref := range o.manifest.Segments() {
		f, err := r.store.Open(ctx, schema.SegmentKey(ref.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			return r.again(ctx, o)
		}
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	return segmentsOf(ctx, r.store), nil
}

// again bakes a package from the commit of its release.
func (r *reproduction) again(ctx context.Context, o *Origin) (func(schema.SegmentRef) (io.ReadCloser, error), error) {
	if o.Release == nil {
		return nil, fault.Hint(fmt.Errorf("segments of package %s are gone, and so is the release that says from which commit it was baked", o.Package),
			"name the commit with --commit")
	}
	if o.Bake != bake.Version {
		return nil, fault.Hint(fmt.Errorf("segments of package %s are gone, and it was baked by bake version %d; this program has %d", o.Package, o.Bake, bake.Version),
			"bake it with the version that published it: bakehouse %s", o.Release.Tool)
	}
	from := *r
	from.commit = o.Release.Commit
	_, err := from.inCommit(ctx, hash{o.Package.Hex()}, func(p plan.Package) bool {
		return p.Recipe == o.Recipe && p.Platform == o.Platform && p.Format == o.Format
	})
	return r.private.segments(ctx), err
}
