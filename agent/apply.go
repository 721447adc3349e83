package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"bakehouse/agent/install"
	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// programFile is where packages put the updater.
var programFile = schema.ProgramFile(runtime.GOOS)

// apply installs a staged package, asks the host whether it is well, and goes back if it is not. It runs to its end
// even if the updater is asked to stop: a package manager must not be cut off.
func (u *update) apply(ctx context.Context, next state.Installed, s *staged, attempt int) (state.Outcome, error) {
	begun := u.host.Pending // by an earlier run that did not come to its end
	u.host.Pending = &state.Pending{Installed: next, Attempts: attempt}
	if err := u.host.Save(); err != nil {
		return state.Outcome{}, err
	}
	u.say("installing %s %s (%s, release %d)", next.Name, next.Version, next.Format, next.Release)
	sys := u.system()
	revert, err := sys.Install(ctx, s.Package)
	if begun != nil {
		revert = nil // what ran before this attempt is not what was accepted: an earlier one may have switched to it
	}
	touched, code := err == nil || install.Touched(err), codeInstall
	if err != nil && !install.OfRelease(err) {
		if !fault.IsRefusal(err) { // such as of an archive that leads elsewhere
			code = codeHost
		}
		return state.Outcome{Code: code}, u.hindered(ctx, err, next, begun, revert)
	}
	if err == nil {
		code = codeUnhealthy
		// An updater that does not start, or cannot read the settings it came with, could never be fixed by an update.
		err = sys.CheckProgram(ctx, time.Minute, programFile, "show-config")
	}
	if err == nil {
		err = sys.CheckHealth(ctx)
	}
	if err == nil {
		u.say("healthy")
		u.accept(next)
		if err := u.host.Save(); err != nil {
			return state.Outcome{}, err
		}
		u.prune(u.host.Record)
		u.pruneVersions()
		return state.Outcome{State: schema.StateCurrent, Code: codeInstalled, Why: "up to date"}, nil
	}
	u.say("release %d failed here: %v", next.Release, err)
	err = fmt.Errorf("release %d failed here: %w", next.Release, err)
	// Written before anything is taken back: after a crash it must not be tried again.
	u.host.MarkFailed(next.Release, cut(err.Error(), 2000))
	if err := u.host.Save(); err != nil {
		return state.Outcome{Code: code}, err
	}
	if !touched {
		u.host.Pending = begun
		return state.Outcome{Code: code}, err
	}
	return state.Outcome{Code: code}, errors.Join(err, u.undo(ctx, revert))
}

// hindered is the end of an installation that a condition of the host stopped: nothing is held against the release.
// Where nothing was touched, the next update looks again, and what an earlier run left half done stays known. Where the
// package manager had begun, it goes back to the old package, and tries again after pauses that grow to a day.
func (u *update) hindered(
	ctx context.Context, err error, next state.Installed, begun *state.Pending, revert install.Revert,
) error {
	u.say("release %d cannot be installed now: %v", next.Release, err)
	if !install.Touched(err) {
		u.host.Pending = begun
		return err
	}
	w := &state.Waiting{Package: next.Package, Why: cut(err.Error(), 2000)}
	if old := u.host.Waiting; old != nil && old.Package == next.Package {
		w.Tries = old.Tries
	}
	pause := min(u.host.Interval()<<min(w.Tries, 10), 24*time.Hour)
	w.Tries++
	w.Next = u.opts.Now().UTC().Truncate(time.Second).Add(pause)
	u.host.Waiting = w
	return errors.Join(err, u.undo(ctx, revert))
}

// undo takes an installation back, by its own way if it has one.
func (u *update) undo(ctx context.Context, revert install.Revert) error {
	if revert == nil {
		return u.goBack(ctx, "installing the previous package again")
	}
	if err := revert(ctx); err != nil {
		u.say("rollback failed: %v", err)
		return u.goBack(ctx, "installing the previous package again")
	}
	u.host.Pending = nil
	u.say("rolled back")
	return nil
}

// pruneVersions removes what nobody can want back, now that the package that runs is accepted.
func (u *update) pruneVersions() {
	if u.host.Installed.Format != schema.Tgz {
		return
	}
	var before *install.Package
	if p := u.host.Previous; p != nil {
		before = &install.Package{Recipe: p.Recipe, SHA256: p.Package}
	}
	u.system().Prune(before, before == nil)
}

// goBack installs the package that state.json calls installed once more, so that nothing half done stays.
func (u *update) goBack(ctx context.Context, why string) error {
	i := u.host.Installed
	if i == nil && u.system().ByHand() {
		if err := u.system().ReturnToByHand(ctx); err != nil {
			return fmt.Errorf("roll back to what was installed manually: %w", err)
		}
		u.host.Pending = nil
		u.say("rolled back to what was installed manually")
		return nil
	}
	if i == nil {
		u.host.Pending = nil
		u.say("there is no previous package to roll back to")
		return nil
	}
	u.say("%s: release %d, package %s", why, i.Release, i.Package.Short())
	if err := u.reinstall(ctx, i); err != nil {
		return fmt.Errorf("roll back to release %d: %w", i.Release, err)
	}
	u.host.Pending = nil
	return nil
}

// reinstall installs a package from what is kept here. It was verified when it came; its bytes are checked again.
func (a *Agent) reinstall(ctx context.Context, i *state.Installed) error {
	m, err := a.heldManifest(i.Package, i.Manifest)
	if err != nil {
		return err
	}
	s, err := a.stage(m)
	if err != nil {
		return err
	}
	defer s.remove()
	_, err = a.system().Install(ctx, s.Package)
	return err
}

// Rollback installs the previous package again, without asking the server, and remembers the release that it leaves as
// one that shall not come back by itself.
func (a *Agent) Rollback(ctx context.Context) (Result, error) {
	end, err := a.begin("rollback")
	if err != nil {
		return failed(err), err
	}
	defer end()
	r, err := a.rollback(ctx)
	if err != nil {
		a.log.Error("rollback", "error", err, "hint", fault.HintOf(err))
		r.State, r.Error = failed(err).State, err.Error()
	}
	return r, err
}

func failed(err error) Result {
	r := Result{Outcome: state.Outcome{State: schema.StateFailed, Error: err.Error()}}
	if fault.IsRefusal(err) {
		r.State = schema.StateRefused
	}
	return r
}

func (a *Agent) rollback(ctx context.Context) (Result, error) {
	h, err := a.files.Load()
	if err != nil {
		return Result{}, err
	}
	from, to := h.Installed, h.Previous
	if to == nil && from != nil && a.system().ByHand() {
		return a.returnToByHand(ctx, h)
	}
	if to == nil || from == nil {
		return Result{}, fault.Hint(errors.New("there is no previous package to roll back to"),
			"the previous package is kept from the second update on")
	}
	if revoked := a.revoked(h); slices.Contains(revoked, to.Package) {
		return Result{}, fault.Refuse(fmt.Errorf("the previous package %s is revoked", to.Package.Short()),
			"wait for a newer release")
	}
	r := Result{Outcome: state.Outcome{State: schema.StateFailed}, Package: from}
	if h.Registration != nil {
		r.Host = h.Registration.Host
	}
	a.say("rolling back from release %d to release %d, package %s", from.Release, to.Release, to.Package.Short())
	h.Pending = &state.Pending{Installed: *to, Attempts: 1}
	if err := h.Save(); err != nil {
		return r, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := a.reinstall(ctx, to); err != nil {
		if install.Touched(err) {
			err = errors.Join(err, a.reinstall(ctx, from))
		}
		h.Pending = nil
		return r, errors.Join(err, h.Save())
	}
	if err := a.system().CheckHealth(ctx); err != nil {
		a.say("%v", err)
	}
	h.Installed, h.Previous, h.Pending = to, from, nil
	h.Forgive(to.Release)
	h.MarkFailed(from.Release, byHand(from.Release))
	h.Last = state.Outcome{State: schema.StateHeld, Code: codeRolledBack,
		Why:    byHand(from.Release),
		Target: h.Last.Target, Downloaded: h.Last.Downloaded}
	r.Outcome, r.Package = h.Last, to
	return r, h.Save()
}

// byHand is why a release that somebody rolled back is not installed again.
func byHand(release int64) string { return fmt.Sprintf("release %d was rolled back manually", release) }

// returnToByHand is the rollback of a host's first update: to what was unpacked manually, which is not a package that
// the updater knows.
func (a *Agent) returnToByHand(ctx context.Context, h *state.Host) (Result, error) {
	from := h.Installed
	r := Result{Outcome: state.Outcome{State: schema.StateFailed}, Package: from}
	if h.Registration != nil {
		r.Host = h.Registration.Host
	}
	a.say("rolling back from release %d to what was installed manually", from.Release)
	h.Pending = &state.Pending{Installed: *from, Attempts: 1} // after a crash, from is installed again
	if err := h.Save(); err != nil {
		return r, err
	}
	err := a.system().ReturnToByHand(context.WithoutCancel(ctx))
	if err == nil {
		h.Installed, h.Previous = nil, from
		h.MarkFailed(from.Release, byHand(from.Release))
		h.Last = state.Outcome{State: schema.StateHeld, Code: codeRolledBack,
			Target: h.Last.Target, Downloaded: h.Last.Downloaded,
			Why: fmt.Sprintf("release %d was rolled back to what was installed manually", from.Release)}
		r.Outcome, r.Package = h.Last, nil
	}
	h.Pending = nil
	return r, errors.Join(err, h.Save())
}

// revoked lists the packages that the newest verified policy revokes; none if there is no policy here.
func (a *Agent) revoked(h *state.Host) []schema.Digest {
	anchor, _, _, err := h.Trusted()
	if err != nil {
		return nil
	}
	c, err := trust.Open(a.files.Stored(trustDir), anchor, a.opts.Now)
	if err != nil || c.Policy() == nil {
		return nil
	}
	return c.Policy().Revoked
}
