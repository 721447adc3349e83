package agent

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Status is what the host knows of itself.
type Status struct {
	Agent      string     `json:"agent"` // version of this program
	Host       string     `json:"host,omitempty"`
	Server     string     `json:"server,omitempty"`
	Site       string     `json:"site,omitempty"`
	Registered bool       `json:"registered"`
	Last       Outcome    `json:"last"`
	Installed  *Installed `json:"installed,omitempty"`
	Previous   *Installed `json:"previous,omitempty"`
	Pending    *Installed `json:"pending,omitempty"`
	Failed     []int64    `json:"failed,omitempty"`
	Root       int64      `json:"root"`      // verified version
	Timestamp  int64      `json:"timestamp"` // likewise
	LastCheck  time.Time  `json:"lastCheck,omitzero"`
	LastUpdate time.Time  `json:"lastUpdate,omitzero"`
	NextCheck  time.Time  `json:"nextCheck,omitzero"` // by the service, give or take a tenth of the interval
	Fetched    int64      `json:"fetched"`
	HeldSince  time.Time  `json:"heldSince,omitzero"`
	Keys       []KeyState `json:"keys,omitempty"`
	Critical   string     `json:"critical,omitempty"` // why somebody must look at this host
	Problem    string     `json:"problem,omitempty"`  // why no update can work
	Hint       string     `json:"hint,omitempty"`
}

// KeyState is a signature key that the host accepts. Its expiry is told, and never a reason to refuse.
type KeyState struct {
	Name    string    `json:"name"`
	State   string    `json:"state"` // valid, corrupt, or a schema.Key… constant
	Expires time.Time `json:"expires,omitzero"`
}

const (
	keyValid   = "valid"
	keyCorrupt = "corrupt"
)

// Status reads the host's files; it asks nobody and changes nothing.
func (a *Agent) Status() (*Status, error) {
	s, err := a.load()
	if err != nil {
		return nil, err
	}
	st := s.state
	out := &Status{Agent: a.opts.Version, Last: st.Last, Installed: st.Installed, Previous: st.Previous, Failed: st.Failed,
		Root: st.Root, Timestamp: st.Timestamp, LastCheck: st.LastCheck, LastUpdate: st.LastUpdate, Fetched: st.Fetched}
	if out.Last.State == "" {
		out.Last.State = schema.StateNew
	}
	if st.Pending != nil {
		out.Pending = &st.Pending.Installed
	}
	if st.Withheld != nil {
		out.HeldSince, out.Critical = st.Withheld.Since, st.Withheld.critical(a.opts.Now())
	}
	var problem error
	if r := st.Registration; r != nil {
		out.Registered, out.Host, out.Site = true, r.Host, r.Site
	} else {
		problem = errUnregistered
	}
	if urls := s.servers(); len(urls) > 0 {
		out.Server = urls[0]
	}
	if !st.LastCheck.IsZero() {
		out.NextCheck = st.LastCheck.Add(s.interval())
	}
	_, keys, threshold, err := s.trusted()
	switch {
	case err == nil:
		out.Keys, err = keyStates(keys, threshold, s.config, a.opts.Now())
	case s.configErr != nil: // it may be for a key, which is told then
		if b, rerr := readFile(a.path(schema.ConfigFile), maxConfig); rerr == nil {
			if c, derr := schema.DecodeAgentConfig(b); derr == nil {
				out.Keys, _ = keyStates(c.Keys, c.Threshold, c, a.opts.Now())
			}
		}
	}
	if problem == nil {
		problem = err
	}
	if problem != nil {
		out.Problem, out.Hint = problem.Error(), fault.HintOf(problem)
	}
	return out, nil
}

// keyStates judges the accepted keys. The error says that too few are left to sign the next package; those that are corrupt
// can verify nothing, and nothing is signed with those that have expired.
func keyStates(keys []schema.AcceptedKey, threshold int, c *schema.AgentConfig, now time.Time) (states []KeyState, err error) {
	expiry := schema.DefaultKeyExpiry
	if c != nil && c.KeyExpiry != nil {
		expiry = *c.KeyExpiry
	}
	left := 0
	for _, k := range keys {
		state := KeyState{clean(k.Name), keyValid, k.Expires}
		if at := expiry.Of(k.Expires, now); at != schema.KeyFine {
			state.State = at
		}
		if _, err := parseKey(k.Public); err != nil {
			state.State = keyCorrupt
		}
		if state.State != keyCorrupt && state.State != schema.KeyExpired {
			left++
		}
		states = append(states, state)
	}
	if left < threshold {
		err = fault.Hint(fmt.Errorf("of the %d signature keys that this host accepts %d are valid, and a new package takes %d", len(keys), left, threshold),
			"what runs here goes on; install the host's newest package by hand, which brings the keys of today")
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
	row("server", "%s", orElse(s.Server, "none"))
	if s.Site != "" {
		row("site", "%s", s.Site)
	}
	row("state", "%s", s.Last.State)
	if why := orElse(s.Last.Error, s.Last.Why); why != "" {
		row("why", "%s", why)
	}
	if s.Critical != "" {
		row("critical", "%s", s.Critical)
	}
	row("installed", "%s", s.Installed)
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
	if s.Problem != "" {
		row("problem", "%s", s.Problem)
		row("hint", "%s", s.Hint)
	}
	return t.Flush()
}

// Err is what makes the host critical, nil if nothing does.
func (s *Status) Err() error {
	if s.Critical == "" {
		return nil
	}
	return fault.Hint(errors.New("critical: "+s.Critical), "see why the host's server holds it back, is behind, or cannot be reached")
}

// String says which package it is in a few words.
func (i *Installed) String() string {
	if i == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s (%s), release %d, package %s, recipe %s", i.Name, i.Version, i.Format, i.Release, i.Package.Short(), i.Recipe)
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
