package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
	"bakehouse/schema/plain"
)

// rename gives the host the name that the server calls it by, if signed metadata say so: they have nothing for the name
// that it has, and what they have for the new one says that it was this. The server's word alone only tells where to
// look. It keeps its secret, which the server knows it by under either name; from here on it goes under the new one.
func (a *Agent) rename(ctx context.Context, h *state.Host, tc *trust.Client, src trust.Source, name string,
) (*schema.Assignment, error) {
	was := h.Registration.Host
	given, err := tc.Assignment(ctx, src, name)
	if err == nil && !slices.Contains(given.Was, was) {
		err = trust.ErrNoTarget
	}
	if errors.Is(err, trust.ErrNoTarget) {
		return nil, fault.Refuse(fmt.Errorf("the server calls this host %s, and nothing that is signed says that %s "+
			"was renamed to it", plain.Name(name), was),
			"this host keeps its name; find out why the server says so")
	}
	if err != nil {
		return nil, err
	}
	now := *h.Registration
	now.Host = given.Host
	h.Registration, h.Hold, h.Reported = &now, "", nil
	if err := h.Save(); err != nil {
		return nil, err
	}
	a.say("this host is called %s now: the fleet renamed %s, and signed that", now.Host, was)
	return given, nil
}

// gone is the verdict on a host whose name signed metadata do not have.
func gone(h *state.Host, now time.Time) schema.Verdict {
	if h.Gone.IsZero() {
		h.Gone = now.UTC().Truncate(time.Second)
	}
	name := h.Registration.Host
	since := ""
	if h.Installed != nil { // it had one
		since = fmt.Sprintf(" since %s at the latest", h.Gone.Format(time.RFC3339))
	}
	return schema.Verdict{Code: outcome.CodeNoTarget, Why: fmt.Sprintf("%s%s; "+
		"if it has another name in the fleet's repository, set `was: %q` there, or type: "+
		"bakehouse-agent register --force --host NAME", outcome.NoPackage("", name), since, name)}
}
