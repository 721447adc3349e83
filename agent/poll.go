package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

// dial makes the client for one way to a server, with the host's credentials.
func (a *Agent) dial(h *state.Host, way state.Way, now func() time.Time) (*wire.Client, error) {
	return wire.New(wire.Config{Server: way.Server, Certificates: way.Certificates, Insecure: way.Insecure,
		Proxy: way.Proxy, Program: a.program(), User: h.Registration.Host, Password: h.Registration.Secret, Now: now,
		Stall: a.opts.Stall})
}

func (a *Agent) program() string { return "bakehouse-agent/" + a.opts.Version }

// search is one search for a server that answers, by all the ways that the host knows.
type search struct {
	*Agent
	host  *state.Host
	trust *trust.Client

	tried   []state.Way
	dead    []state.Way // without certificates: what no certificate can help
	doubted []state.Way // likewise: certificate not believed, or the host not known; and not asked yet
	err     error       // the one to tell

	way    state.Way // that led to a server, which gave the answer
	client *wire.Client
	answer *schema.PollAnswer
}

// poll asks the host's servers in turn until one answers, and returns its client for the rest of the update, and the
// way to it. A release may bring settings by which no server is reached, and then the next release, which takes them
// back, could not be either. So there are ways after those of the present settings:
//
//   - Where a certificate is not believed, signed policy may name its authority by now: a host that was off while its
//     fleet replaced that learns of it in this way. Where a server does not know the host, as a site that is not its
//     own, policy may name the server of its site. See adopt.
//   - The way that last led to a server, with what was believed then (state.Host.Reached). What is installed stays:
//     only the way is remembered, until the present settings have led to a server. A host that moves to another site
//     goes on by it, rather than by the fleet's own server, until the new site has answered.
//
// If insecure, whoever answers by the ways of the settings is asked, whatever its certificate.
func (a *Agent) poll(ctx context.Context, h *state.Host, tc *trust.Client, insecure bool) (*search, error) {
	s := &search{Agent: a, host: h, trust: tc}
	if insecure {
		return s.insecurely(ctx)
	}
	present := func() bool { return s.try(ctx, h.Ways()) }
	last := func() bool {
		if h.Worked == nil || !s.try(ctx, []state.Way{*h.Worked}) {
			return false
		}
		a.warn("%s: going on by the last way that worked: %s", s.err, h.Worked)
		return true
	}
	if h.Moving() && (s.try(ctx, h.Ways()[:1]) || last()) {
		return s, nil
	}
	if present() || s.adopt(ctx) && present() || last() {
		return s, nil
	}
	if s.adopt(ctx) && present() {
		return s, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.err == nil {
		return nil, errors.New("no server is known")
	}
	return nil, s.err
}

// insecurely asks by the ways of the settings, and believes whoever answers: what is fetched is verified by itself, but
// the secret and the report of this host are theirs.
func (s *search) insecurely(ctx context.Context) (*search, error) {
	ways := s.host.Ways()
	for i := range ways {
		ways[i].Insecure, ways[i].Certificates = true, nil
		s.warn("--insecure: the certificate of %s is not verified in this call: whoever answers in its place gets "+
			"this host's secret and report. Metadata and packages are verified as ever. If in doubt, register again with "+
			"--force afterwards", ways[i].Server)
	}
	if s.try(ctx, ways) {
		return s, nil
	}
	return nil, cmp.Or(ctx.Err(), s.err, errors.New("no server is known"))
}

// try asks by those of the ways that were not tried yet, until one leads to a server that answers.
func (s *search) try(ctx context.Context, ways []state.Way) bool {
	for _, way := range ways {
		bare := state.Way{Server: way.Server, Proxy: way.Proxy}
		if ctx.Err() != nil || slices.ContainsFunc(s.tried, way.Equal) || slices.ContainsFunc(s.dead, bare.Equal) {
			continue
		}
		s.tried = append(s.tried, way)
		err := s.ask(ctx, way)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if errors.Is(err, wire.ErrCertificate) || errors.Is(err, wire.ErrDenied) {
			s.doubted = append(s.doubted, bare)
		} else {
			s.dead = append(s.dead, bare)
		}
		switch unreachable := errors.Is(err, wire.ErrUnreachable); {
		case s.err == nil, errors.Is(s.err, wire.ErrUnreachable) && !unreachable:
			s.err = err // what a server of the fleet answers tells more than that another one does not
		case unreachable && errors.Is(s.err, wire.ErrUnreachable):
			s.err = fmt.Errorf("%w; %w", s.err, err)
		}
		s.say("%v", err)
	}
	return false
}

// ask polls by one way. By one that has not led to a server before, it asks for the timestamp that the host has
// already: then "nothing new" is no answer, and whatever says that to everybody is not taken for a server.
func (s *search) ask(ctx context.Context, way state.Way) error {
	c, err := s.dial(s.host, way, s.clock(s.trust))
	if err != nil {
		return fmt.Errorf("server %s: %w", way.Server, err)
	}
	holds := s.trust.Holds(s.host.Registration.Host)
	anew := s.host.Worked == nil || !s.host.Worked.Equal(way)
	if anew {
		holds.Timestamp = 0
	}
	answer, err := s.pollFor(ctx, c, s.host, holds)
	if err == nil && answer == nil && anew {
		err = fault.Hint(fmt.Errorf("server %s: %w: it has nothing, for a host that asked for the timestamp",
			way.Server, wire.ErrUnreachable), "something that is not a Bakehouse server answers there")
	}
	if err != nil {
		c.Close()
		return err
	}
	s.way, s.client, s.answer = way, c, answer
	return nil
}

// adopt asks the doubted servers for the metadata from root to policy, over connections that are not verified, and
// takes over the authorities and the URL that policy has for the host's site. It reports whether there is something new
// in that.
//
// The metadata are verified by the roots of this fleet, as ever, and no version goes down, so whoever is in between
// can do no more than keep them back, which the server itself could do. wire.Unverified sends nothing of the host.
// Only then the server is asked again, verified, with what the host has to say.
func (s *search) adopt(ctx context.Context) bool {
	before := s.host.Ways()
	doubted := s.doubted
	s.doubted = nil
	for _, way := range doubted {
		if ctx.Err() != nil {
			return false
		}
		u, err := wire.NewUnverified(wire.Config{Server: way.Server, Proxy: way.Proxy, Now: s.clock(s.trust),
			Stall: s.opts.Stall})
		if err != nil {
			continue // as said before
		}
		s.say("asking %s for signed metadata alone, over a connection that is not verified", way.Server)
		err = s.trust.Refresh(ctx, u, nil)
		u.Close()
		if err != nil {
			s.say("no new authority: %v", err)
			continue
		}
		s.host.Learn(s.trust.Policy())
		if !slices.EqualFunc(before, s.host.Ways(), state.Way.Equal) {
			s.say("signed policy names another way to the server of this host")
			return true
		}
	}
	return false
}

// ask sends the host's report; the answer is nil if nothing is new.
func (a *Agent) ask(ctx context.Context, c *wire.Client, h *state.Host, tc *trust.Client) (*schema.PollAnswer, error) {
	return a.pollFor(ctx, c, h, tc.Holds(h.Registration.Host))
}

// pollFor sends the host's report as that of a host which holds these versions.
func (a *Agent) pollFor(ctx context.Context, c *wire.Client, h *state.Host, holds schema.MetadataVersions,
) (*schema.PollAnswer, error) {
	report, sent := a.report(h, c.Server())
	answer, err := c.Poll(ctx, schema.PollRequest{MetadataVersions: holds, Held: h.Hold != "", HoldCode: h.HoldCode,
		Report: report})
	h.Asked = wire.Asked(answer, err)
	if errors.Is(err, wire.ErrDenied) {
		err = fault.Hint(err, "the server does not know this host's secret: run bakehouse-agent register --force")
	}
	if err == nil {
		h.Reported = sent
	}
	return answer, err
}
