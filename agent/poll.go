package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// clock is for the certificates of servers: a host without a working clock can do without one, because those that are
// valid began before the policy that it holds was issued.
func (a *Agent) clock(tc *trust.Client) func() time.Time {
	floor := tc.Now() // once: the client asks in the middle of a handshake, when tc may be waiting for it
	return func() time.Time {
		if now := a.opts.Now(); now.After(floor) {
			return now
		}
		return floor
	}
}

// dial makes the client for one of the host's servers.
func (a *Agent) dial(s *settings, server string, now func() time.Time) (*client, error) {
	c, err := newClient(server, s.certificates(), s.proxy(), a.opts.Version, now)
	if err == nil {
		c.stall = a.opts.Stall
		c.user, c.password = s.state.Registration.Host, s.state.Registration.Secret
	}
	return c, err
}

// poll asks the host's servers in turn until one answers, and returns its client for the rest of the update.
func (a *Agent) poll(ctx context.Context, s *settings, tc *trust.Client) (*client, *schema.PollAnswer, error) {
	var first error
	for _, server := range s.servers() {
		c, err := a.dial(s, server, a.clock(tc))
		if err != nil {
			return nil, nil, err
		}
		answer, err := a.ask(ctx, c, s.state, tc)
		if err == nil {
			return c, answer, nil
		}
		c.close()
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || !isUnreachable(err) {
			return nil, nil, err
		}
		a.say("%v", err)
	}
	return nil, nil, first
}

// ask sends the host's report; the answer is nil for a 204.
func (a *Agent) ask(ctx context.Context, c *client, st *State, tc *trust.Client) (*schema.PollAnswer, error) {
	root, timestamp := tc.Versions()
	var answer schema.PollAnswer
	found, err := c.post(ctx, schema.PollPath, schema.PollRequest{
		Schema: schema.WireSchema, Timestamp: timestamp, Root: root, Held: st.Hold != "", Report: a.report(st),
	}, &answer)
	var status *statusError
	if errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden) {
		return nil, fault.Hint(err, "the server does not know this host's secret: run bakehouse-agent register --force")
	}
	if err != nil || !found {
		return nil, err
	}
	return &answer, nil
}

// report is what the host says of itself.
func (a *Agent) report(st *State) schema.Report {
	r := schema.Report{
		Agent: a.opts.Version, Platform: a.platform, State: st.Last.State, Code: st.Last.Code, Error: cut(st.Last.Error, 2000),
		Target: st.Last.Target, Downloaded: st.Last.Downloaded, Fetched: st.Fetched,
		LastCheck: st.LastCheck, LastUpdate: st.LastUpdate,
	}
	if r.State == "" {
		r.State = schema.StateNew
	}
	if w := st.Withheld; w != nil {
		r.HeldSince, r.Critical = w.Since, w.critical(a.opts.Now()) != ""
	}
	if i := st.Installed; i != nil {
		r.Installed, r.Recipe, r.Release = i.Package, i.Recipe, i.Release
	}
	return r
}

func cut(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
