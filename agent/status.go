package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/state"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Status is what the host knows of itself.
type Status struct {
	Agent      string            `json:"agent"` // version of this program
	Host       string            `json:"host,omitempty"`
	Server     string            `json:"server,omitempty"`
	Site       string            `json:"site,omitempty"`
	Registered bool              `json:"registered"`
	Last       cycle.Outcome     `json:"last"`
	Installed  *cycle.Installed  `json:"installed,omitempty"`
	Previous   *cycle.Installed  `json:"previous,omitempty"`
	Differs    string            `json:"differs,omitempty"` // how what is there is not what was installed
	Stopped    []string          `json:"stopped,omitempty"` // services that an administrator stopped or disabled
	Pending    *cycle.Installed  `json:"pending,omitempty"`
	Failed     []int64           `json:"failed,omitempty"`
	Root       int64             `json:"root"`      // verified version
	Timestamp  int64             `json:"timestamp"` // likewise
	LastCheck  time.Time         `json:"lastCheck,omitzero"`
	LastUpdate time.Time         `json:"lastUpdate,omitzero"`
	NextCheck  time.Time         `json:"nextCheck,omitzero"` // by the service, give or take a tenth of the interval
	Fetched    int64             `json:"fetched"`
	HeldSince  time.Time         `json:"heldSince,omitzero"`
	Keys       []schema.KeyState `json:"keys,omitempty"`
	LastWay    string            `json:"lastWay,omitempty"`   // to the server, if the settings do not have it any more
	Critical   string            `json:"critical,omitempty"`  // why somebody must look at this host
	Elsewhere  string            `json:"elsewhere,omitempty"` // that this is another machine than was registered
	Problem    string            `json:"problem,omitempty"`   // why no update can work
	Hint       string            `json:"hint,omitempty"`
}

// Status reads the host's files; it asks nobody and changes nothing.
func (a *Agent) Status() (*Status, error) {
	st, err := a.files.Load()
	if err != nil {
		return nil, err
	}
	out := &Status{Agent: a.opts.Version, Last: st.Last, Installed: st.Installed, Previous: st.Previous,
		Failed: st.Standing().Failed,
		Root:   st.Root, Timestamp: st.Timestamp, LastCheck: st.LastCheck, LastUpdate: st.LastUpdate,
		Fetched: st.Fetched, Stopped: st.Stopped}
	if out.Last.State == "" {
		out.Last.State = schema.StateNew
	}
	if st.Pending != nil {
		out.Pending = &st.Pending.Installed
	}
	if st.Drift != nil {
		out.Differs = st.Drift.String()
	}
	if st.Withheld != nil {
		out.HeldSince, out.Critical = st.Withheld.Since, st.Withheld.Critical(a.opts.Now())
	}
	var problem error
	if r := st.Registration; r != nil {
		out.Registered, out.Host, out.Site = true, r.Host, r.Site
	} else {
		problem = state.ErrUnregistered
	}
	if urls := st.Servers(); len(urls) > 0 {
		out.Server = urls[0]
	}
	if w := st.Worked; w != nil && !slices.ContainsFunc(st.Ways(), w.Equal) {
		out.LastWay = w.String()
	}
	if !st.LastCheck.IsZero() {
		out.NextCheck = st.LastCheck.Add(st.Interval())
	}
	_, keys, threshold, err := st.Trusted()
	switch {
	case err == nil:
		out.Keys, err = keyStates(keys, threshold, st.Config, a.opts.Now())
	case st.Problem != nil: // it may be for a key, which is shown then
		if c := a.files.UncheckedConfig(); c != nil {
			out.Keys, _ = keyStates(c.Keys, c.Threshold, c, a.opts.Now())
		}
	}
	if problem == nil {
		problem = err
	}
	if err := st.Elsewhere(); err != nil {
		out.Elsewhere, out.Hint = err.Error(), fault.HintOf(err)
	}
	if problem != nil {
		out.Problem, out.Hint = problem.Error(), fault.HintOf(problem)
	}
	return out, nil
}

// keyStates judges the accepted keys. The error says that too few are left to sign the next package; those that are
// corrupt can verify nothing, and nothing is signed with those that have expired.
func keyStates(keys []schema.AcceptedKey, threshold int, c *schema.AgentConfig, now time.Time,
) (states []schema.KeyState, err error) {
	expiry := schema.DefaultKeyExpiry
	if c != nil && c.KeyExpiry != nil {
		expiry = *c.KeyExpiry
	}
	left := 0
	for _, k := range keys {
		judged := schema.KeyState{Name: wire.Printable(k.Name), State: schema.KeyValid, Expires: k.Expires}
		if at := expiry.Of(k.Expires, now); at != schema.KeyFine {
			judged.State = at
		}
		if _, err := schema.ParsePublicKey(k.Public); err != nil {
			judged.State = schema.KeyCorrupt
		}
		if judged.State != schema.KeyCorrupt && judged.State != schema.KeyExpired {
			left++
		}
		states = append(states, judged)
	}
	if left < threshold {
		err = fault.Hint(fmt.Errorf("of the %d signature keys that this host accepts, %d are valid, "+
			"but a new package needs %d", len(keys), left, threshold),
			"the installed package keeps running; install the host's newest package manually, which has the current keys")
	}
	return states, err
}

// Print writes s for people.
func (s *Status) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	if s.Registered {
		row("host", "%s", s.Host)
	} else {
		row("host", "not registered")
	}
	row("server", "%s", cmp.Or(s.Server, "none"))
	if s.LastWay != "" {
		row("last way", "%s (tried until the present settings have worked)", s.LastWay)
	}
	if s.Site != "" {
		row("site", "%s", s.Site)
	}
	row("state", "%s", s.Last.State)
	if why := cmp.Or(s.Last.Error, s.Last.Why); why != "" {
		row("why", "%s", why)
	}
	if s.Critical != "" {
		row("critical", "%s", s.Critical)
	}
	row("installed", "%s", s.Installed)
	if s.Differs != "" {
		row("differs", "%s", s.Differs)
	}
	for _, unit := range s.Stopped {
		row("service", "%s by an administrator, and it stays so", unit)
	}
	if s.Pending != nil {
		row("interrupted", "%s", s.Pending)
	}
	row("previous", "%s", s.Previous)
	row("target", "%s", short(s.Last.Target))
	for _, f := range s.Failed {
		row("failed here", "release %d", f)
	}
	row("last check", "%s", when(s.LastCheck))
	row("last update", "%s", when(s.LastUpdate))
	row("next check", "%s", when(s.NextCheck))
	row("verified", "timestamp %d, root %d", s.Timestamp, s.Root)
	for _, k := range s.Keys {
		until := ""
		if !k.Expires.IsZero() {
			until = ", until " + k.Expires.UTC().Format(time.DateOnly)
		}
		row("accepts key", "%s: %s%s", k.Name, k.State, until)
	}
	row("program", "%s", s.Agent)
	if s.Elsewhere != "" {
		row("machine", "%s", s.Elsewhere)
	}
	if s.Problem != "" {
		row("problem", "%s", s.Problem)
	}
	if s.Hint != "" {
		row("hint", "%s", s.Hint)
	}
	return t.Flush()
}

// Err is what makes the host critical, nil if nothing does.
func (s *Status) Err() error {
	if s.Critical == "" {
		return nil
	}
	return fault.Hint(errors.New("critical: "+s.Critical),
		"find out why the server holds this host back, is behind or cannot be reached")
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func short(d schema.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.Short()
}
