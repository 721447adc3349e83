package report

import (
	"cmp"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Status is what the host knows of itself.
type Status struct {
	Agent        string           `json:"agent"` // version of this program
	Host         string           `json:"host,omitempty"`
	Server       string           `json:"server,omitempty"`
	Site         string           `json:"site,omitempty"`
	Registered   bool             `json:"registered"`
	RegisteredAt time.Time        `json:"registeredAt,omitzero"`
	Last         cycle.Outcome    `json:"last"`
	Installed    *cycle.Installed `json:"installed,omitempty"`
	Previous     *cycle.Installed `json:"previous,omitempty"`
	Differs      string           `json:"differs,omitempty"` // how what is there is not what was installed
	Stopped      []string         `json:"stopped,omitempty"` // services that an administrator stopped or disabled
	Paused       *schema.Pause    `json:"paused,omitempty"`  // by an administrator: nothing is installed or repaired
	Pending      *cycle.Installed `json:"pending,omitempty"`
	Waiting      *cycle.Waiting   `json:"waiting,omitempty"` // for a condition of the host to end
	Failed       []int64          `json:"failed,omitempty"`
	Root         int64            `json:"root"`      // verified version
	Timestamp    int64            `json:"timestamp"` // likewise
	LastTry      time.Time        `json:"lastTry,omitzero"`
	LastCheck    time.Time        `json:"lastCheck,omitzero"` // when a server answered
	LastUpdate   time.Time        `json:"lastUpdate,omitzero"`
	NextCheck    time.Time        `json:"nextCheck,omitzero"` // by the service, give or take a tenth of the interval
	Interval     schema.Duration  `json:"interval"`
	Fetched      int64            `json:"fetched"`

	UnreachableAfter schema.Duration `json:"unreachableAfter"` // a central fault is OK until then

	HeldSince time.Time `json:"heldSince,omitzero"`
	Keys      []Key     `json:"keys,omitempty"`
	Way       string    `json:"way,omitempty"`       // that last led to a server
	LastWay   string    `json:"lastWay,omitempty"`   // the same, if the settings do not have it any more
	Critical  string    `json:"critical,omitempty"`  // why somebody must look at this host
	Elsewhere string    `json:"elsewhere,omitempty"` // that this is another machine than was registered
	Problem   string    `json:"problem,omitempty"`   // why no update can work
	Hint      string    `json:"hint,omitempty"`
	Overdue   string    `json:"overdue,omitempty"` // that no update was tried for too long
	Severity  Severity  `json:"severity"`
	Reasons   []string  `json:"reasons,omitempty"` // of the severity; if that is OK, what is worth knowing

}

// Read reads the host's files, or the summary where only root reads those; it asks nobody and changes nothing. What an
// update could not write into the state, as on a disk that has become read-only, is taken from the summary too.
func Read(f state.Files, version string) (*Status, error) {
	summary, serr := readSummary(f)
	h, err := f.Load()
	if err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		switch {
		case serr != nil:
			return nil, serr
		case summary == nil:
			return nil, fault.Hint(err, "run it as root; for others there is a summary, %s, once the service or an "+
				"update has run since the last boot", summaryFile(f))
		}
		summary.Judge(f.Now())
		return summary, nil
	}
	s := Of(f, h, version)
	if summary != nil && summary.LastTry.After(s.LastTry) && !summary.LastTry.After(f.Now()) && s.Registered {
		s.Last, s.LastTry = summary.Last, summary.LastTry
		s.Judge(f.Now())
	}
	return s, nil
}

// Of is the status of a host that was loaded from f.
func Of(f state.Files, h *state.Host, version string) *Status {
	now := f.Now()
	s := &Status{Agent: version, Last: h.Last, Installed: h.Installed, Previous: h.Previous,
		Failed: h.Standing().Failed, Root: h.Root, Timestamp: h.Timestamp, LastTry: h.LastTry,
		LastCheck: h.LastCheck, LastUpdate: h.LastUpdate, Fetched: h.Fetched, Stopped: h.Stopped,
		Waiting: h.Waiting, Interval: schema.Duration(h.Interval()),
		UnreachableAfter: schema.Duration(h.UnreachableAfter())}
	if p := h.Paused; p != nil && !p.Ended(now) {
		s.Paused = p
	}
	s.Last.State = cmp.Or(s.Last.State, schema.StateNew)
	if h.Pending != nil {
		s.Pending = &h.Pending.Installed
	}
	if h.Drift != nil {
		s.Differs = h.Drift.String()
	}
	if w := h.Withheld; w != nil {
		s.HeldSince, s.Critical = w.Since, w.Critical(now)
	}
	var problem error
	if r := h.Registration; r != nil {
		s.Registered, s.Host, s.Site, s.RegisteredAt = true, r.Host, r.Site, r.At
	} else {
		problem = state.ErrUnregistered
	}
	if urls := h.Servers(); len(urls) > 0 {
		s.Server = urls[0]
	}
	if w := h.Worked; w != nil {
		s.Way = w.String()
		if !slices.ContainsFunc(h.Ways(), w.Equal) {
			s.LastWay = s.Way
		}
	}
	if !h.LastCheck.IsZero() {
		s.NextCheck = h.LastCheck.Add(h.Interval())
	}
	_, keys, threshold, err := h.Trusted()
	switch {
	case err == nil:
		s.Keys, err = Keys(keys, threshold, h.Config, now)
	case h.Problem != nil: // it may be for a key, which is shown then
		if c := f.UncheckedConfig(); c != nil {
			s.Keys, _ = Keys(c.Keys, c.Threshold, c, now)
		}
	}
	if problem == nil {
		problem = err
	}
	if err := h.Elsewhere(); err != nil {
		s.Elsewhere, s.Hint = err.Error(), fault.HintOf(err)
	}
	if problem != nil {
		s.Problem, s.Hint = problem.Error(), fault.HintOf(problem)
	}
	s.Judge(now)
	return s
}

// Err is what makes the host critical by what its fleet allows, nil if nothing does.
func (s *Status) Err() error {
	if s.Critical == "" {
		return nil
	}
	return fault.Hint(errors.New("critical: "+s.Critical),
		"find out why the server holds this host back, is behind or cannot be reached")
}

// summaryFile is where the summary is.
func summaryFile(f state.Files) string { return f.Path(schema.StatusFile(runtime.GOOS)) }
