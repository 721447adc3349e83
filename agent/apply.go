package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"bakehouse/agent/install"
	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// programFile is where packages put the updater.
var programFile = schema.ProgramFile(runtime.GOOS)

// apply installs a staged package, asks the host whether it is well, and goes back if it is not. It runs to its end even
// if the updater is asked to stop: a package manager must not be cut off.
func (u *update) apply(ctx context.Context, next Installed, s *staged, attempt int) (Outcome, error) {
	u.state.Pending = &Pending{Installed: next, Attempts: attempt}
	if err := u.state.write(u.stored()); err != nil {
		return Outcome{}, err
	}
	u.say("installing %s %s (%s, release %d)", next.Name, next.Version, next.Format, next.Release)
	sys := u.system()
	revert, err := sys.Install(ctx, s.Package)
	if err != nil && !install.Touched(err) {
		// The old package runs as before, and what is in the way may go away: the next update tries again.
		u.state.Pending = nil
		return Outcome{Code: codeInstall}, err
	}
	code := codeInstall
	if err == nil {
		code = codeUnhealthy
		// An updater that does not start, or cannot read the settings it came with, could never mend that by an update.
		err = sys.CheckProgram(ctx, time.Minute, programFile, "show-config")
	}
	if err == nil {
		err = sys.CheckHealth(ctx)
	}
	if err == nil {
		u.say("healthy")
		u.accept(next)
		if err := u.state.write(u.stored()); err != nil {
			return Outcome{}, err
		}
		u.prune(u.state)
		return Outcome{State: schema.StateCurrent, Code: codeInstalled, Why: "up to date"}, nil
	}
	u.say("release %d failed here: %v", next.Release, err)
	// Written before anything is taken back: after a crash it must not be tried again.
	u.state.markFailed(next.Release)
	if err := u.state.write(u.stored()); err != nil {
		return Outcome{Code: code}, err
	}
	err = fmt.Errorf("release %d failed here: %w", next.Release, err)
	u.state.FailedWhy = cut(err.Error(), 2000)
	return Outcome{Code: code}, errors.Join(err, u.undo(ctx, revert))
}

// undo takes an installation back, by its own way if it has one.
func (u *update) undo(ctx context.Context, revert install.Revert) error {
	if revert == nil {
		return u.goBack(ctx, "the previous package is installed again")
	}
	if err := revert(ctx); err != nil {
		u.say("taking it back failed: %v", err)
		return u.goBack(ctx, "the previous package is installed again")
	}
	u.state.Pending = nil
	u.say("taken back")
	return nil
}

// goBack installs the package that state.json calls installed once more, so that nothing half done stays.
func (u *update) goBack(ctx context.Context, why string) error {
	i := u.state.Installed
	if i == nil {
		u.state.Pending = nil
		u.say("there is no previous package to go back to")
		return nil
	}
	u.say("%s: release %d, package %s", why, i.Release, i.Package.Short())
	if err := u.reinstall(ctx, i); err != nil {
		return fmt.Errorf("going back to release %d: %w", i.Release, err)
	}
	u.state.Pending = nil
	return nil
}

// reinstall installs a package from what is kept here. It was verified when it came; its bytes are checked again.
func (a *Agent) reinstall(ctx context.Context, i *Installed) error {
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
	r := Result{Outcome: Outcome{State: schema.StateFailed, Error: err.Error()}}
	if fault.IsRefusal(err) {
		r.State = schema.StateRefused
	}
	return r
}

func (a *Agent) rollback(ctx context.Context) (Result, error) {
	s, err := a.load()
	if err != nil {
		return Result{}, err
	}
	from, to := s.state.Installed, s.state.Previous
	if to == nil && from != nil && a.system().ByHand() {
		return a.returnToByHand(ctx, s.state)
	}
	if to == nil || from == nil {
		return Result{}, fault.Hint(errors.New("there is no previous package to go back to"), "the updater keeps one from its second update on")
	}
	if revoked := a.revoked(s); slices.Contains(revoked, to.Package) {
		return Result{}, fault.Refuse(fmt.Errorf("the previous package %s is revoked", to.Package.Short()), "wait for a newer release")
	}
	r := Result{Outcome: Outcome{State: schema.StateFailed}, Package: from}
	if s.state.Registration != nil {
		r.Host = s.state.Registration.Host
	}
	a.say("going back from release %d to release %d, package %s", from.Release, to.Release, to.Package.Short())
	s.state.Pending = &Pending{Installed: *to, Attempts: 1}
	if err := s.state.write(a.stored()); err != nil {
		return r, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := a.reinstall(ctx, to); err != nil {
		if install.Touched(err) {
			err = errors.Join(err, a.reinstall(ctx, from))
		}
		s.state.Pending = nil
		return r, errors.Join(err, s.state.write(a.stored()))
	}
	if err := a.system().CheckHealth(ctx); err != nil {
		a.say("%v", err)
	}
	s.state.Installed, s.state.Previous, s.state.Pending = to, from, nil
	s.state.Failed = slices.DeleteFunc(s.state.Failed, func(r int64) bool { return r == to.Release })
	s.state.markFailed(from.Release)
	s.state.Last = Outcome{State: schema.StateHeld, Code: codeRolledBack, Why: fmt.Sprintf("release %d was rolled back by hand", from.Release),
		Target: s.state.Last.Target, Downloaded: s.state.Last.Downloaded}
	r.Outcome, r.Package = s.state.Last, to
	return r, s.state.write(a.stored())
}

// returnToByHand is the rollback of a host's first update: to what had been unpacked by hand, which is no package that
// the updater knows.
func (a *Agent) returnToByHand(ctx context.Context, st *State) (Result, error) {
	from := st.Installed
	r := Result{Outcome: Outcome{State: schema.StateFailed}, Package: from}
	if st.Registration != nil {
		r.Host = st.Registration.Host
	}
	a.say("going back from release %d to what was installed by hand", from.Release)
	st.Pending = &Pending{Installed: *from, Attempts: 1} // after a crash, from is installed again
	if err := st.write(a.stored()); err != nil {
		return r, err
	}
	err := a.system().ReturnToByHand(context.WithoutCancel(ctx))
	if err == nil {
		st.Installed, st.Previous = nil, from
		st.markFailed(from.Release)
		st.Last = Outcome{State: schema.StateHeld, Code: codeRolledBack, Target: st.Last.Target, Downloaded: st.Last.Downloaded,
			Why: fmt.Sprintf("release %d was rolled back to what was installed by hand", from.Release)}
		r.Outcome, r.Package = st.Last, nil
	}
	st.Pending = nil
	return r, errors.Join(err, st.write(a.stored()))
}

// revoked lists the packages that the newest verified policy revokes; none if there is no policy here.
func (a *Agent) revoked(s *settings) []schema.Digest {
	anchor, _, _, err := s.trusted()
	if err != nil {
		return nil
	}
	c, err := trust.Open(a.stored(trustDir), anchor, a.opts.Now)
	if err != nil || c.Policy() == nil {
		return nil
	}
	return c.Policy().Revoked
}
