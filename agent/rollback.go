package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install"
	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

// Rollback installs the previous package again, or one before it that to names, without asking the server, and
// remembers what it leaves as releases that shall not come back by themselves.
func (a *Agent) Rollback(ctx context.Context, to string) (Result, error) {
	end, err := a.begin("rollback")
	if err != nil {
		return failed(err), err
	}
	defer end()
	r, err := a.rollback(ctx, to)
	if err != nil {
		a.log.Error("rollback", "error", err, "hint", fault.HintOf(err))
		r.State, r.Error = failed(err).State, failed(err).Error
	}
	return r, err
}

func (a *Agent) rollback(ctx context.Context, name string) (Result, error) {
	h, err := a.files.Load()
	if err != nil {
		return Result{}, err
	}
	from, to := h.Installed, h.Previous
	if name != "" {
		if to, err = a.installedBefore(h, name); err != nil {
			return Result{}, err
		}
	}
	if to == nil && from != nil && a.system().ByHand() {
		return a.returnToByHand(ctx, h)
	}
	if to == nil || from == nil {
		return Result{}, fault.Hint(errors.New("there is no previous package to roll back to"),
			"the previous package is kept from the second update on")
	}
	if revoked := a.revoked(h); slices.Contains(revoked, to.Package) {
		return Result{}, fault.Refuse(fmt.Errorf("package %s of release %d is revoked", to.Package.Short(), to.Release),
			"wait for a newer release")
	}
	r := Result{Outcome: cycle.Outcome{State: schema.StateFailed}, Package: from}
	if h.Registration != nil {
		r.Host = h.Registration.Host
	}
	a.say("rolling back from release %d to release %d, package %s", from.Release, to.Release, to.Package.Short())
	if err := a.reaches(from); err != nil {
		return r, err
	}
	h.Pending = &cycle.Pending{Installed: *to, Attempts: 1}
	if err := h.Save(); err != nil {
		return r, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := a.reinstall(ctx, to); err != nil {
		if install.Touched(err) {
			if back := a.reinstall(ctx, from); back != nil {
				return r, errors.Join(err, back) // half done, and known to be
			}
		}
		h.Pending = nil
		return r, errors.Join(err, h.Save())
	}
	if err := a.health().Checks(ctx); err != nil {
		a.say("%v", err)
	}
	h.RollBack(*to, byHand)
	h.Last = cycle.Outcome{State: schema.StateHeld, Code: outcome.CodeRolledBack,
		Why:    byHand(from.Release),
		Target: h.Last.Target, Downloaded: h.Last.Downloaded}
	r.Outcome, r.Package = h.Last, to
	return r, h.Save()
}

// minPrefix is how many hex digits name a package.
const minPrefix = 8

// installedBefore finds a package that was installed here before, by its release's number or the begin of its digest.
// All its bytes are here: that one is missing or altered is found out before anything is touched.
func (a *Agent) installedBefore(h *state.Host, name string) (*cycle.Installed, error) {
	is := func(i cycle.Installed) bool { return strconv.FormatInt(i.Release, 10) == name }
	if digits := strings.ToLower(strings.TrimPrefix(name, "sha256:")); len(digits) >= minPrefix {
		is = func(i cycle.Installed) bool { return strings.HasPrefix(i.Package.Hex(), digits) }
	}
	if i := h.Installed; i != nil && is(*i) {
		return nil, fault.Hint(fmt.Errorf("%s is installed", name),
			"to install it again, run bakehouse-agent update --force")
	}
	known := slices.Clone(h.Before)
	if p := h.Previous; p != nil && !slices.ContainsFunc(known, func(i cycle.Installed) bool {
		return i.Package == p.Package
	}) {
		known = append(known, *p)
	}
	slices.Reverse(known)
	var held []string
	for _, i := range known {
		m, err := a.heldManifest(i.Package, i.Manifest)
		lost := func(s schema.SegmentRef) bool { return !a.holds(s) }
		if err != nil || slices.ContainsFunc(m.Segments(), lost) {
			continue
		}
		if is(i) {
			return &i, nil
		}
		held = append(held, fmt.Sprintf("release %d (%s)", i.Release, i.Package.Short()))
	}
	hint := "the bytes of no package that was installed before are here"
	if len(held) > 0 {
		hint = "the bytes of these are: " + strings.Join(held, ", ")
	}
	if slices.ContainsFunc(known, is) {
		return nil, fault.Hint(fmt.Errorf("%s was installed here, but its bytes are not here any more", name), "%s",
			hint)
	}
	return nil, fault.Hint(fmt.Errorf("%s was not installed here before", name), "%s", hint)
}

// byHand is why a release that somebody rolled back is not installed again.
func byHand(release int64) string { return fmt.Sprintf("release %d was rolled back manually", release) }

// returnToByHand is the rollback of a host's first update: to what was unpacked manually, which is not a package that
// the updater knows.
func (a *Agent) returnToByHand(ctx context.Context, h *state.Host) (Result, error) {
	from := h.Installed
	r := Result{Outcome: cycle.Outcome{State: schema.StateFailed}, Package: from}
	if h.Registration != nil {
		r.Host = h.Registration.Host
	}
	a.say("rolling back from release %d to what was installed manually", from.Release)
	h.Pending = &cycle.Pending{Installed: *from, Attempts: 1} // after a crash, from is installed again
	if err := h.Save(); err != nil {
		return r, err
	}
	err := a.system().ReturnToByHand(context.WithoutCancel(ctx))
	if err == nil {
		h.Installed, h.Previous = nil, from
		h.MarkByHand(from.Release, byHand(from.Release))
		h.Last = cycle.Outcome{State: schema.StateHeld, Code: outcome.CodeRolledBack,
			Target: h.Last.Target, Downloaded: h.Last.Downloaded,
			Why: fmt.Sprintf("release %d was rolled back to what was installed manually", from.Release)}
		r.Outcome, r.Package = h.Last, nil
		h.Pending = nil
	}
	return r, errors.Join(err, h.Save())
}

// revoked lists the packages that the newest verified policy revokes; none if there is no policy here.
func (a *Agent) revoked(h *state.Host) []schema.Digest {
	anchor, _, _, err := h.Trusted()
	if err != nil {
		return nil
	}
	c, err := trust.Open(a.files.Stored(h.TrustDir()), anchor, a.opts.Now)
	if err != nil || c.Policy() == nil {
		return nil
	}
	return c.Policy().Revoked
}
