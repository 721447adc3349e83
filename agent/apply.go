package agent

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install"
	"bakehouse/agent/staging"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
	"bakehouse/schema/plain"
)

// programFile is where packages put the updater.
var programFile = schema.ProgramFile(runtime.GOOS)

// install gives the staged package to its installer.
func (u *update) install(ctx context.Context, next cycle.Installed) cycle.InstallEnded {
	u.say("installing %s %s (%s, release %d)", next.Name, next.Version, next.Format, next.Release)
	err := u.reaches(u.host.Installed)
	if err == nil {
		u.revert, err = u.system().Install(ctx, u.staged.Package)
	}
	if err == nil {
		return cycle.InstallEnded{Touched: true, Revertible: u.revert != nil}
	}
	ended := cycle.InstallEnded{Err: err, Code: outcome.CodeHost, OfRelease: install.OfRelease(err),
		Touched: install.Touched(err), Revertible: u.revert != nil}
	if fault.IsRefusal(err) { // such as of an archive that leads elsewhere
		ended.Code = outcome.CodeUnverified
	}
	u.say("release %d cannot be installed now: %v", next.Release, err)
	return ended
}

// survey looks at the host before it is touched.
func (u *update) survey(ctx context.Context, s *cycle.State) cycle.Event {
	h := u.health()
	before := cycle.Surveyed{Seen: h.Survey(ctx, s), Ailing: h.Ailing(ctx)}
	if err := ctx.Err(); err != nil {
		return cycle.Stopped{Code: codeOf(err), Err: err}
	}
	return before
}

// judge asks whether the host is well with what was installed. An updater that does not start, or cannot read the
// settings it came with, could never be fixed by an update.
func (u *update) judge(ctx context.Context, c *cycle.Cycle) cycle.Judged {
	h, judged := u.health(), cycle.Judged{}
	judged.Err = h.Program(ctx, time.Minute, programFile, "show-config")
	if judged.Err == nil {
		judged.Err = h.Checks(ctx)
	}
	if judged.Err == nil {
		judged.Err = h.Watch(ctx, u.files.Fresh().Watch(), c.Ailing)
	}
	if judged.Err == nil {
		judged.Seen, judged.Err = h.Names(ctx, &c.State)
	}
	if judged.Err != nil {
		u.say("release %d failed here: %v", c.Next.Release, judged.Err)
	} else {
		u.say("healthy")
	}
	return judged
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

// goBack installs what the state calls installed once more, so that nothing half done stays.
func (u *update) goBack(ctx context.Context, why string) error {
	i := u.host.Installed
	if i == nil && u.system().ByHand() {
		u.say("%s: what was installed manually", why)
		if err := u.system().ReturnToByHand(ctx); err != nil {
			return fmt.Errorf("roll back to what was installed manually: %w", err)
		}
		return nil
	}
	if i == nil {
		u.say("%s: there is no previous package to roll back to", why)
		return nil
	}
	u.say("%s: release %d, package %s", why, i.Release, i.Package.Short())
	u.keepEdits(i)
	if err := u.fetchAgain(ctx, i); err != nil {
		u.say("%v", err)
	}
	if err := u.reinstall(ctx, i); err != nil {
		return fmt.Errorf("install release %d again: %w", i.Release, err)
	}
	u.host.Reload()
	return nil
}

// reinstall installs a package from what is kept here. It was verified when it came; its bytes are checked again.
func (a *Agent) reinstall(ctx context.Context, i *cycle.Installed) error {
	s, err := a.restage(ctx, i)
	if err != nil {
		return err
	}
	defer s.Remove()
	if _, err = a.system().Install(ctx, s.Package); err == nil {
		a.settle(i, s.Files)
	}
	return err
}

// restage puts a package together from what is kept here. Damage is this host's, and no refusal of anybody's bytes.
func (a *Agent) restage(ctx context.Context, i *cycle.Installed) (*staging.Package, error) {
	m, err := a.heldManifest(i.Package, i.Manifest)
	var s *staging.Package
	if err == nil {
		s, err = a.stage(ctx, m)
	}
	if err != nil {
		return nil, &conditionError{fault.Hint(fmt.Errorf("what this host keeps of package %s is damaged: %s",
			i.Package.Short(), err.Error()), "the next update that reaches a server fetches it again")}
	}
	return s, nil
}

func failed(err error) Result {
	r := Result{Outcome: cycle.Outcome{State: schema.StateFailed,
		Error: plain.Line(err.Error(), plain.MaxError)}}
	if fault.IsRefusal(err) {
		r.State = schema.StateRefused
	}
	return r
}
