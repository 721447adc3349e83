package agent

import (
	"context"
	"errors"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
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
func (a *Agent) dial(h *state.Host, server string, now func() time.Time) (*wire.Client, error) {
	return wire.New(wire.Config{Server: server, Certificates: h.Certificates(), Proxy: h.Proxy(), Program: a.program(),
		User: h.Registration.Host, Password: h.Registration.Secret, Now: now, Stall: a.opts.Stall})
}

func (a *Agent) program() string { return "bakehouse-agent/" + a.opts.Version }

// poll asks the host's servers in turn until one answers, and returns its client for the rest of the update.
func (a *Agent) poll(ctx context.Context, h *state.Host, tc *trust.Client) (*wire.Client, *schema.PollAnswer, error) {
	var first error
	for _, server := range h.Servers() {
		c, err := a.dial(h, server, a.clock(tc))
		if err != nil {
			return nil, nil, err
		}
		answer, err := a.ask(ctx, c, h, tc)
		if err == nil {
			return c, answer, nil
		}
		c.Close()
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || !errors.Is(err, wire.ErrUnreachable) {
			return nil, nil, err
		}
		a.say("%v", err)
	}
	return nil, nil, first
}

// ask sends the host's report; the answer is nil if nothing is new.
func (a *Agent) ask(ctx context.Context, c *wire.Client, h *state.Host, tc *trust.Client) (*schema.PollAnswer, error) {
	report, sent := a.report(h, c.Server())
	answer, err := c.Poll(ctx, schema.PollRequest{
		MetadataVersions: tc.Holds(h.Registration.Host), Held: h.Hold != "", Report: report})
	if errors.Is(err, wire.ErrDenied) {
		err = fault.Hint(err, "the server does not know this host's secret: run bakehouse-agent register --force")
	}
	if err == nil {
		h.Reported = sent
	}
	return answer, err
}
