package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// verifyOptions are the settings of `package --verify`.
type verifyOptions struct {
	desired.Where
	location string
	commit   string // to bake; empty: the one that the release names
	host     string // empty: all
	programs program.Places
	jobs     int
}

// examined is a published package and what the commit wants for the hosts that have it.
type examined struct {
	given schema.Candidate
	want  plan.Package
	hosts []string
}

// verifyPackages bakes published packages again, from the commit alone, and compares. Differences are told on stdout; the
// error is then a refusal.
func verifyPackages(ctx context.Context, o verifyOptions, stdout, log io.Writer) (err error) {
	if o.jobs, err = jobCount(o.jobs); err != nil {
		return err
	}
	anchor, err := desired.Anchor(o.Where)
	if err != nil {
		return err
	}
	st, err := store.OpenExisting(ctx, o.location)
	if err != nil {
		return err
	}
	client, src, err := openPublished(ctx, st, anchor)
	if err != nil {
		return err
	}
	release, err := client.Release(ctx, src)
	if err != nil {
		return err
	}
	s, err := desired.Yields(ctx, o.Repo, cmp.Or(o.commit, release.Commit))
	if err != nil {
		return err
	}
	all, err := o.toCheck(ctx, client, src, s)
	if err != nil {
		return err
	}
	differences, err := rebake(ctx, st, s, all, release, o.programs, o.jobs, log)
	if err != nil {
		return err
	}
	wrong, told := 0, make([]string, len(all))
	for i, lines := range differences {
		if len(lines) > 0 {
			wrong++
		}
		told[i] = all[i].tell(s.Name, lines)
	}
	if _, err := io.WriteString(stdout, strings.Join(told, "")); err != nil {
		return err
	}
	if wrong > 0 {
		hint := "find out who published them: `bakehouse reproduce HASH` names commit, release and signatures, `bakehouse store fsck` what was altered"
		if o.commit != "" && o.commit != release.Commit {
			hint = fmt.Sprintf("the published release is of commit %.12s: leave --ref out to bake that one", release.Commit)
		}
		return fault.Refuse(fmt.Errorf("%d of %d published packages differ from what %s yields", wrong, len(all), s.Name), "%s", hint)
	}
	return nil
}

// rebake bakes packages again, from s alone, and says of each how the published one differs; no lines if it does not.
func rebake(ctx context.Context, st store.Store, s *desired.State, all []examined, release *schema.Release, programs program.Places, jobs int, log io.Writer) (differences [][]string, err error) {
	private, err := newScratch(st)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	differences = make([][]string, len(all))
	// Those that the commit does not have are not baked.
	var index []int
	var bakeable []plan.Package
	for i, c := range all {
		if c.want == (plan.Package{}) {
			differences[i] = []string{"the commit has no such host"}
			continue
		}
		index, bakeable = append(index, i), append(bakeable, c.want)
	}
	err = newOven(s, private, programs, jobs, log).each(ctx, bakeable, func(i int, b *bake.Baked) (err error) {
		i = index[i]
		differences[i], err = compareBaked(ctx, st, private, all[i].given, b, release)
		return err
	})
	return differences, err
}

func (c examined) tell(commit string, lines []string) string {
	if len(lines) == 0 {
		return fmt.Sprintf("%s: %s is what %s yields\n", console.Hosts(c.hosts), c.given.SHA256, commit)
	}
	return fmt.Sprintf("%s: %s is not what %s yields\n  %s\n", console.Hosts(c.hosts), c.given.SHA256, commit, strings.Join(lines, "\n  "))
}

// toCheck is what is published for the host, or for each once, in order of hosts.
func (o verifyOptions) toCheck(ctx context.Context, client *trust.Client, src trust.Source, s *desired.State) ([]examined, error) {
	if o.host != "" {
		a, err := assignmentOf(ctx, client, src, o.host)
		if err != nil {
			return nil, err
		}
		return []examined{{a.Candidates()[0], s.Hosts[o.host].Package, []string{o.host}}}, nil
	}
	return grouped(client.All(ctx, src), s)
}

// grouped is each published package once, for each package that s wants for its hosts, in order of hosts.
func grouped(published iter.Seq2[*schema.Assignment, error], s *desired.State) ([]examined, error) {
	type pair struct {
		manifest schema.Digest
		want     plan.Package
	}
	found := map[pair]*examined{}
	for a, err := range published {
		if err != nil {
			return nil, err
		}
		key := pair{a.Manifest, s.Hosts[a.Host].Package}
		if found[key] == nil {
			found[key] = &examined{given: a.Candidates()[0], want: key.want}
		}
		found[key].hosts = append(found[key].hosts, a.Host)
	}
	var all []examined
	for _, c := range found {
		slices.Sort(c.hosts)
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b examined) int { return cmp.Compare(a.hosts[0], b.hosts[0]) })
	return all, nil
}

// compareBaked says how a published package differs from what was baked for it; no lines if it does not.
func compareBaked(ctx context.Context, st store.Store, private *scratch, given schema.Candidate, b *bake.Baked, release *schema.Release) ([]string, error) {
	m, err := readManifest(ctx, st, given.Manifest)
	if err != nil {
		return nil, err
	}
	if m.Bake != bake.Version {
		return nil, fault.Hint(fmt.Errorf("it was published by bake version %d, and this program has %d, whose bytes differ", m.Bake, bake.Version),
			"verify it with the version that published it: bakehouse %s", release.Tool)
	}
	if m.SHA256 != given.SHA256 || m.Size != given.Length {
		return []string{fmt.Sprintf("its manifest describes %s of %d bytes, and %s of %d bytes is signed", m.SHA256, m.Size, given.SHA256, given.Length)}, nil
	}
	var lines []string
	field := func(name string, published, baked any) {
		if published != baked {
			lines = append(lines, fmt.Sprintf("%s: %v published, %v baked", name, published, baked))
		}
	}
	field("recipe", m.Recipe, b.Manifest.Recipe)
	field("name", m.Name, b.Manifest.Name)
	field("version", m.Version, b.Manifest.Version)
	field("platform", m.Platform, b.Manifest.Platform)
	field("format", m.Format, b.Manifest.Format)
	field("anchor", m.Anchor, b.Manifest.Anchor)
	field("size", m.Size, b.Manifest.Size)
	field("package", m.SHA256, b.Manifest.SHA256)
	field("manifest", given.Manifest, b.Digest)
	published, err := listPackage(m, segmentsOf(ctx, st))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, contents.ErrFormat) && len(lines) == 0 {
		return nil, m.Assemble(io.Discard, segmentsOf(ctx, st))
	}
	if err != nil {
		return append(lines, fmt.Sprintf("the published package: %v", err)), nil
	}
	if len(lines) == 0 {
		return nil, nil
	}
	baked, err := listPackage(b.Manifest, private.segments(ctx))
	if err != nil {
		return nil, err
	}
	files := contents.Difference(published, baked)
	if len(files) == 0 {
		files = []string{"every file is the same, and what is around them differs"}
	}
	return append(lines, files...), nil
}

// listPackage puts a package together and lists what it holds.
func listPackage(m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error)) ([]contents.File, error) {
	r, w := io.Pipe()
	assembled := make(chan error, 1)
	go func() {
		err := m.Assemble(w, open)
		w.CloseWithError(err)
		assembled <- err
	}()
	files, err := contents.List(m.Format, r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // whatever is behind the last file is digested too
	}
	r.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
	if e := <-assembled; e != nil && !errors.Is(e, io.ErrClosedPipe) {
		return nil, e
	}
	return files, err
}
