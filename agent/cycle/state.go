package cycle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

const (
	maxFailed = 64
	maxBefore = 16
)

// State is what of a host's state an update decides by and changes.
type State struct {
	Installed *Installed  `json:"installed,omitempty"` // what was accepted
	Previous  *Installed  `json:"previous,omitempty"`
	Before    []Installed `json:"before,omitempty"` // what was accepted and replaced, once each, the newest last
	Pending   *Pending    `json:"pending,omitempty"`
	Failed    []Failure   `json:"failed,omitempty"` // releases that failed here or were rolled back manually
	Waiting   *Waiting    `json:"waiting,omitempty"`
	Drift     *Drift      `json:"drift,omitempty"`    // how what is there differs from Installed; nil: it does not
	Repaired  *Repair     `json:"repaired,omitempty"` // the last time that the package was installed again for that
	Withheld  *Withheld   `json:"withheld,omitempty"`

	Sees   []Sees   `json:"sees,omitempty"`   // what the monitoring of the accepted package prints, by plugin
	Ailing []string `json:"ailing,omitempty"` // services that were ill before the installation that is pending

	Paused *schema.Pause `json:"paused,omitempty"` // nothing is installed or repaired; nil: it is not paused

	LastTry    time.Time `json:"lastTry,omitzero"` // when an update last came to an end, whatever that was
	LastUpdate time.Time `json:"lastUpdate,omitzero"`
	Last       Outcome   `json:"last,omitzero"`
}

// Installed is a package that was installed from here.
type Installed struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Release  int64           `json:"release"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Format   schema.Format   `json:"format"`
	At       time.Time       `json:"at,omitzero"`
}

// Pending is an installation that was begun. It is written before the system is touched.
type Pending struct {
	Installed
	Attempts int `json:"attempts"`
}

// Failure is a release that must not be installed again by itself, and why.
type Failure struct {
	Release int64  `json:"release"`
	Why     string `json:"why,omitempty"`
	// Somebody rolled it back: that says nothing of the release, and counts against nothing.
	ByHand bool `json:"byHand,omitempty"`
}

// Drift is how what is there differs from the package that was accepted.
type Drift struct {
	Version string   `json:"version,omitempty"` // as the package manager has it, if it is another; "none": it has none
	Files   []string `json:"files,omitempty"`   // some of those that are not as they came, with what is different
	Number  int      `json:"number,omitempty"`  // of such files
}

// String says it in a few words.
func (d *Drift) String() string {
	var parts []string
	if d.Version != "" {
		parts = append(parts, "the package manager has version "+d.Version)
	}
	if len(d.Files) > 0 {
		files := strings.Join(d.Files, ", ")
		if more := d.Number - len(d.Files); more > 0 {
			files += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, files)
	}
	return strings.Join(parts, "; ")
}

// Repair is a package that was installed again, and why.
type Repair struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// Waiting is a package that the host itself stopped in the middle, and which is tried again by itself.
type Waiting struct {
	Package schema.Digest `json:"package"`
	Tries   int           `json:"tries"`
	Next    time.Time     `json:"next"` // not before
	Why     string        `json:"why"`
}

// Outcome is how an update ended: a State… constant, and why.
type Outcome struct {
	State      string        `json:"state"`
	Code       string        `json:"code,omitempty"`
	Why        string        `json:"why,omitempty"`
	Error      string        `json:"error,omitempty"`
	Target     schema.Digest `json:"target,omitzero"`
	Downloaded schema.Digest `json:"downloaded,omitzero"`
}

// Withheld remembers since when this host has been kept from its fleet's releases by something that is neither signed
// nor the host's own (Class). What is signed, such as the master switch, the selection, a ring's delay or a revocation,
// is the operator's decision and no such thing, however long it stands.
//
// Policy's maxHold is how long that may last. After it the host is critical: it says so in its reports, its status and
// the exit code of that. It installs nothing for it: whoever can keep a host from the server could else choose when.
type Withheld struct {
	Since time.Time       `json:"since,omitzero"` // zero: the clock was behind what is signed
	Code  string          `json:"code"`           // of the last outcome
	Limit schema.Duration `json:"limit,omitempty"`
}

// Critical says that w has lasted too long at the time now; empty if it has not.
func (w *Withheld) Critical(now time.Time) string {
	if w == nil || w.Limit <= 0 || w.Since.IsZero() || now.Sub(w.Since) <= time.Duration(w.Limit) {
		return ""
	}
	return fmt.Sprintf("held back since %s (%s), longer than the %s that the fleet allows",
		w.Since.UTC().Format(time.RFC3339), w.Code, w.Limit)
}

// String says which package it is in a few words.
func (i *Installed) String() string {
	if i == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s (%s), release %d, package %s, recipe %s",
		i.Name, i.Version, i.Format, i.Release, i.Package.Short(), i.Recipe)
}

// Standing is what schema.Policy.Decide needs to know.
func (s *State) Standing() schema.Standing {
	var st schema.Standing
	for _, f := range s.Failed {
		st.Failed = append(st.Failed, f.Release)
	}
	if s.Installed != nil {
		st.Installed, st.Release = s.Installed.Package, s.Installed.Release
	}
	return st
}

// MarkFailed remembers a release that must not be installed again, and why.
func (s *State) MarkFailed(release int64, why string) {
	s.mark(Failure{Release: release, Why: why})
}

// MarkByHand remembers a release that somebody rolled back, and why.
func (s *State) MarkByHand(release int64, why string) {
	s.mark(Failure{Release: release, Why: why, ByHand: true})
}

func (s *State) mark(f Failure) {
	s.Forgive(f.Release)
	s.Failed = append(s.Failed, f)
	// Newest releases matter: older ones are no candidates any more.
	s.Failed = s.Failed[max(0, len(s.Failed)-maxFailed):]
}

// Forgive forgets that a release failed here.
func (s *State) Forgive(release int64) {
	s.Failed = slices.DeleteFunc(slices.Clone(s.Failed), func(f Failure) bool { return f.Release == release })
}

// WhyFailed is why a release failed here; empty if it did not.
func (s *State) WhyFailed(release int64) string {
	for _, f := range s.Failed {
		if f.Release == release {
			return f.Why
		}
	}
	return ""
}

// byHand reports whether somebody rolled a release back.
func (s *State) byHand(release int64) bool {
	return slices.ContainsFunc(s.Failed, func(f Failure) bool { return f.Release == release && f.ByHand })
}

// RollBack makes to, which was accepted before, the installed package again. What was accepted later is not to come
// back by itself.
func (s *State) RollBack(to Installed, why func(release int64) string) {
	from := s.Installed
	s.replace(to)
	s.Installed, s.Previous, s.Pending, s.Sees = &to, from, nil, nil
	s.Forgive(to.Release)
	for _, i := range s.Before {
		if i.Release > to.Release || i.Package == from.Package {
			s.MarkByHand(i.Release, why(i.Release))
		}
	}
}

// replace remembers what is installed as something that was, unless it is next.
func (s *State) replace(next Installed) {
	i := s.Installed
	if i == nil || i.Package == next.Package {
		return
	}
	s.Before = slices.DeleteFunc(slices.Clone(s.Before), func(b Installed) bool {
		return b.Package == i.Package || b.Package == next.Package
	})
	s.Before = append(s.Before, *i)
	s.Before = s.Before[max(0, len(s.Before)-maxBefore):]
}

// accept makes next the installed package.
func (s *State) accept(next Installed, now time.Time) {
	next.At = now
	// Installed again after a crash or manually: what was before stays what was before.
	if i := s.Installed; i != nil && i.Package != next.Package {
		s.Previous = i
	}
	s.replace(next)
	s.Installed, s.Pending, s.Waiting, s.Drift, s.Ailing = &next, nil, nil, nil, nil
	s.LastUpdate = now
	s.Forgive(next.Release)
}
