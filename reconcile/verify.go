package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/judge"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Verified is a published release, judged, as `package verify --json` prints it.
type Verified struct {
	Verdict  *judge.Verdict `json:"verdict"`
	Packages []*Examined    `json:"packages"` // in order of hosts; of each the newest candidate first
}

// Examined is a package that hosts may be given now.
type Examined struct {
	Package     schema.Digest `json:"package"`
	Release     int64         `json:"release"` // that gave it to them
	Commit      string        `json:"commit"`  // of that release, empty if it is not kept
	Hosts       []string      `json:"hosts"`
	Older       bool          `json:"older"`       // they have a newer one
	Differences []string      `json:"differences"` // none: it is what the commit yields
	Doubt       string        `json:"doubt"`       // why no clean release gave it; empty: one did
	Missing     string        `json:"missing"`     // what of it the store lacks; empty: nothing
}

// Verify judges the newest release, and bakes again what its hosts may be given: all of them, or one.
func Verify(ctx context.Context, o Options, host string, log io.Writer) (*Verified, error) {
	p, err := o.reader(ctx, log)
	if err != nil {
		return nil, err
	}
	j, err := p.newJudge(ctx, func(jo *judge.Options) { jo.Host = host })
	if err != nil {
		return nil, err
	}
	verdicts, err := p.walk(ctx, j, nil)
	if err != nil {
		return nil, err
	}
	done := &Verified{Verdict: verdicts[len(verdicts)-1], Packages: []*Examined{}}
	alien, err := j.Roots(ctx)
	if err != nil {
		return nil, err
	}
	if len(alien) > 0 {
		done.Verdict.Alarms, done.Verdict.Status = append(done.Verdict.Alarms, alien...), judge.Alarm
	}
	if j.State() == nil {
		return done, nil
	}
	type key struct {
		manifest schema.Digest
		release  int64
		older    bool
		doubt    string
	}
	found := map[key]*Examined{}
	for a := range j.State().InOrder() {
		if host != "" && a.Host != host {
			continue
		}
		for i, c := range a.Candidates() {
			k := key{c.Manifest, c.Release, i > 0, j.Doubt(a.Host, c)}
			if found[k] == nil {
				found[k] = &Examined{Package: c.SHA256, Release: c.Release, Commit: j.CommitOf(c.Release), Older: i > 0,
					Doubt: k.doubt, Differences: append([]string{}, j.Differences(c.Manifest)...),
					Missing: j.Missing(c.Manifest)}
				done.Packages = append(done.Packages, found[k])
			}
			found[k].Hosts = append(found[k].Hosts, a.Host)
		}
	}
	if host != "" && len(done.Packages) == 0 {
		return nil, fault.Hint(fmt.Errorf("the published release has no package for host %s", host),
			"check the name, and that its commit was reconciled: bakehouse explain %s", host)
	}
	return done, nil
}

// Text is v for people.
func (v *Verified) Text() string {
	var b strings.Builder
	listed := map[string]bool{} // hosts whose differences are listed already
	for _, e := range v.Packages {
		which := e.Package.String()
		if e.Older {
			which += fmt.Sprintf(", an older candidate of release %d,", e.Release)
		}
		what := "is"
		if len(e.Differences) > 0 {
			what = "is not"
		}
		commit := fmt.Sprintf("what commit %.12s yields", cmp.Or(e.Commit, v.Verdict.Commit))
		if e.Doubt != "" && len(e.Differences) == 0 {
			what, commit = "is doubtful:", e.Doubt
		}
		fmt.Fprintf(&b, "%s: %s %s %s\n", console.Hosts(e.Hosts), which, what, commit)
		for _, line := range e.Differences {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		if e.Missing != "" {
			fmt.Fprintf(&b, "  not whole in the store: %s\n", e.Missing)
		}
		for _, host := range e.Hosts {
			listed[host] = listed[host] || len(e.Differences) > 0
		}
	}
	for _, e := range slices.Concat(v.Verdict.Alarms, v.Verdict.Unjudged) {
		if e.Field != "package" || !listed[e.Host] {
			fmt.Fprintln(&b, e)
		}
	}
	return b.String()
}

// Err is the verdict as an error.
func (v *Verified) Err() error {
	switch d := v.Verdict; d.Status {
	case judge.Alarm:
		return fault.Refuse(fmt.Errorf("release %d does not follow from commit %.12s: %s", d.Release, d.Commit,
			console.Count(len(d.Alarms), "alarm")),
			"find out who published it: `bakehouse monitor` judges every release, `bakehouse reproduce HASH` names "+
				"commit and signatures, `bakehouse store fsck` what was altered")
	case judge.Unjudged:
		return fault.Hint(fmt.Errorf("release %d cannot be judged: %s", d.Release, d.Unjudged[0]),
			"judge it with the version that published it, in a whole clone")
	}
	for _, e := range v.Packages {
		if e.Missing != "" {
			return fault.Hint(fmt.Errorf("the store lacks parts of what is published, such as for %s: %s",
				console.Hosts(e.Hosts), e.Missing), "bake them again: bakehouse reconcile --full")
		}
	}
	return nil
}
