package judge

import (
	"io"
	"time"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/source"
	"bakehouse/serve/store"
)

// Options say by what to judge.
type Options struct {
	Head     *desired.State         // pinned: what it descends from counts as reviewed
	Commits  *source.CommitVerifier // nil: commits need not be signed
	Store    store.Store
	Programs program.Places
	Jobs     int       // packages to bake at a time
	Tool     string    // version of this program
	Now      time.Time // nothing is issued later
	Seen     time.Time // that there was nothing after the state where Next begins; zero: not known
	Host     string    // whose packages are baked again; empty: all
	Log      io.Writer // of progress
}

// clockSlack is by how much the clocks of publishers, reviewers and the judge may differ, and how long a run may take.
const clockSlack = 24 * time.Hour

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
