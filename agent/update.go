package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install"
	"bakehouse/agent/install/listing"
	"bakehouse/agent/staging"
	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
	"bakehouse/schema/plain"
)

// Result is what an update, or a rollback, came to.
type Result struct {
	cycle.Outcome
	Host    string           `json:"host"`
	Package *cycle.Installed `json:"package,omitempty"` // what is installed now
	Fetched int64            `json:"fetched"`           // body bytes read from the server

	Critical string `json:"critical,omitempty"` // why somebody must look at this host
}

// String is the one line that every update ends in.
func (r Result) String() string {
	if r.Critical != "" {
		critical := "critical: " + r.Critical
		r.Critical = ""
		return critical + "; " + r.String()
	}
	runs := "no package of the fleet"
	if r.Package != nil {
		runs = fmt.Sprintf("release %d, package %s", r.Package.Release, r.Package.Package.Short())
	}
	fetched := fmt.Sprintf("; %d bytes fetched", r.Fetched)
	if r.Host == "" { // nothing was begun
		return r.State + ": " + plain.Name(r.Error)
	}
	switch {
	case r.State == schema.StateCurrent && r.Code == outcome.CodeInstalled:
		return fmt.Sprintf("updated: %s runs %s%s", r.Host, runs, fetched)
	case r.State == schema.StateCurrent:
		return fmt.Sprintf("current: %s runs %s: %s%s", r.Host, runs, r.Why, fetched)
	case r.Error != "":
		return fmt.Sprintf("%s: %s runs %s: %s%s", r.State, r.Host, runs, plain.Name(r.Error), fetched)
	}
	return fmt.Sprintf("%s: %s runs %s: %s%s", r.State, r.Host, runs, r.Why, fetched)
}

// update is one run.
type update struct {
	*Agent
	host      *state.Host
	keys      []schema.AcceptedKey
	threshold int
	trust     *trust.Client
	client    *wire.Client
	assigned  *schema.Assignment
	target    schema.Digest
	got       schema.Digest    // assembled and verified in this run
	before    *cycle.Installed // when it began
	behind    string           // how far the server is behind what was verified before; empty: it is not
	staged    *staging.Package
	revert    install.Revert
	kept      bool                 // what an administrator stopped is known
	begun     bool                 // an earlier run began what is pending
	insecure  bool                 // believe whoever answers
	pollOnly  bool                 // nothing is changed on the host
	more      bool                 // so that something is left to do
	verify    bool                 // look at each byte of what is installed
	differ    []listing.Difference // of what is installed
}

// UpdateOptions vary an update.
type UpdateOptions struct {
	Retry  bool // forget which releases failed here
	Force  bool // install the package again, even if nothing is wrong with it
	Verify bool // look at each byte of what is installed, not only at sizes, modes and times

	Poll bool // only look and ask; if there is more to do, do nothing of it, and say errMore

	Insecure bool // ask whoever answers in the server's place, whatever certificate that shows
}

// Update does all that is due now: asks the server, verifies, and installs if policy says so. The Result is valid also
// when there is an error, as far as the update came.
func (a *Agent) Update(ctx context.Context, o UpdateOptions) (Result, error) {
	end, err := a.begin("update")
	if err != nil {
		return failed(err), err
	}
	defer end()
	u := &update{Agent: a}
	if u.host, err = a.files.Load(); err == nil && u.host.Registration == nil {
		err = state.ErrUnregistered
	}
	if err != nil {
		a.log.Error("update", "error", err, "hint", fault.HintOf(err))
		return failed(err), err
	}
	if healed := u.host.Healed; healed != nil {
		a.warn("%v; going on with the registration of %s, and the package is installed again", healed,
			u.host.Registration.At.UTC().Format(time.DateOnly))
	}
	u.host.Settle()
	if err := u.host.Elsewhere(); err != nil {
		a.warn("%v; %s", err, fault.HintOf(err))
	}
	a.handOver(ctx, u.host)
	u.insecure = o.Insecure
	u.before, u.begun, u.verify = u.host.Installed, u.host.Pending != nil, o.Verify
	closed, _ := u.host.Closed(u.opts.Now())
	u.pollOnly = o.Poll
	c := u.run(ctx, cycle.Options{Retry: o.Retry, Force: o.Force, Interval: u.host.Interval(),
		Leave: u.host.LeavesDrift(), Closed: closed})
	if u.more {
		return Result{}, errors.Join(errMore, u.leave())
	}
	return u.conclude(ctx, c)
}

// errMore is that an update which may only ask has something to do.
var errMore = errors.New("there is something to do")

// leave ends an update that goes on in another process.
func (u *update) leave() error {
	if u.client != nil {
		defer u.client.Close()
	}
	if u.trust == nil {
		return nil
	}
	return u.trust.Commit(false)
}

// run performs what package cycle says, one action after the other, until the update is over. What is decided is
// written down before it is done.
func (u *update) run(ctx context.Context, o cycle.Options) cycle.Cycle {
	c, action := cycle.Begin(u.host.State, o)
	for action != cycle.End {
		if u.more = u.pollOnly && action != cycle.Observe && action != cycle.Ask; u.more {
			return c
		}
		if action == cycle.Accept {
			u.host.State = c.State // which the end of the update writes down: until then it is pending
		} else if err := u.keep(c.State); err != nil {
			if action == cycle.Prepare || action == cycle.Install {
				return c.Hindered(action, err)
			}
			u.say("%v", err) // going back matters more than that it is known
		}
		c, action = c.Step(u.perform(ctx, action, &c), u.opts.Now())
	}
	if u.staged != nil {
		u.staged.Remove()
	}
	if u.kept && c.Pending == nil {
		if err := u.system().ForgetStopped(); err != nil {
			u.say("%v", err)
		}
	}
	return c
}

// keep writes the state down if it has changed.
func (u *update) keep(s cycle.State) error {
	if reflect.DeepEqual(s, u.host.State) {
		return nil
	}
	u.host.State = s
	return u.host.Save()
}

// perform does one action. From the installation on it runs to its end even if the updater is asked to stop: a package
// manager must not be cut off.
func (u *update) perform(ctx context.Context, action cycle.Action, c *cycle.Cycle) cycle.Event {
	through := context.WithoutCancel(ctx)
	switch action {
	case cycle.Observe:
		return u.observe(ctx, u.verify)
	case cycle.Ask:
		verdict, err := u.verdict(ctx)
		if err != nil {
			return cycle.Stopped{Code: codeOf(err), Err: err}
		}
		return cycle.Decided{Verdict: verdict, Behind: u.behind, Urgent: u.urgent()}
	case cycle.Prepare:
		next, err := u.prepare(ctx, c.Candidate)
		if err != nil {
			return cycle.Stopped{Code: codeOf(err), Err: err}
		}
		return cycle.Prepared{Next: *next, Present: u.present(ctx)}
	case cycle.Survey:
		u.keepStopped(through)
		return u.survey(ctx, &c.State)
	case cycle.Install:
		u.keepStopped(through)
		return u.install(through, c.Next)
	case cycle.Judge:
		return u.judge(through, c)
	case cycle.Accept:
		u.settle(u.host.Installed, u.staged.Files)
		if b := u.host.Bootstrap; b != nil && b.Unsigned {
			u.host.Reload()
			b.Installed(u.host.Config)
		}
		return cycle.Accepted{}
	case cycle.Revert:
		err := u.revert(through)
		if err == nil {
			u.say("rolled back")
		}
		return cycle.Restored{Err: err}
	default:
		u.keepStopped(through)
		return cycle.Restored{Err: u.goBack(through, c.Why)}
	}
}

// keepStopped notes what an administrator stopped, once in an update. Where an earlier run has begun what is pending,
// its note counts: what runs now is what that run left.
func (u *update) keepStopped(ctx context.Context) {
	if u.kept {
		return
	}
	if u.kept = true; u.begun {
		return
	}
	stopped, err := u.system().KeepStopped(ctx)
	if err != nil {
		u.say("%v", err)
		return
	}
	u.host.Stopped = stopped
	for _, line := range stopped {
		u.say("an administrator has this service so, and it stays so: %s", line)
	}
}

// conclude writes the outcome down, reports it if it is news, and says it.
func (u *update) conclude(ctx context.Context, c cycle.Cycle) (Result, error) {
	err, before := c.Err, u.host.Record.State
	if err != nil {
		u.log.Error("update", "error", err, "hint", fault.HintOf(err))
	}
	var policy *schema.Policy
	if u.trust != nil {
		policy = u.trust.Policy()
	}
	was := before.Withheld.Critical(u.opts.Now())
	c = c.Conclude(u.opts.Now(), policy, u.target, u.got)
	out := c.Outcome
	failed := out.State != before.Last.State || out.Code != before.Last.Code || out.Error != before.Last.Error
	switch {
	case out.State == schema.StateCurrent:
		u.host.LogTail = ""
	case err != nil && failed: // not what fails again and again, and would be another text each time
		u.host.LogTail = u.tail.Without(u.host.Registration.Secret)
	}
	r := Result{Outcome: out, Host: u.host.Registration.Host, Package: c.Installed,
		Critical: c.Withheld.Critical(u.opts.Now())}
	if r.Critical != "" {
		u.say("critical: %s", r.Critical)
	}
	news := failed || out.Target != before.Last.Target || (r.Critical == "") != (was == "") || u.renamed(c)
	if u.client != nil {
		r.Fetched = u.client.Fetched()
		defer u.client.Close()
	}
	if out.Code == outcome.CodeInstalled || !u.got.IsZero() {
		u.host.Fetched = r.Fetched
	}
	u.host.State = c.State
	save := func(what func() error) {
		if serr := what(); serr != nil {
			u.log.Error("update", "error", serr, "hint", fault.HintOf(serr))
			u.unsaved, err = errors.Join(serr, err), errors.Join(err, serr)
		}
	}
	if u.trust != nil {
		save(func() error { return u.trust.Commit(false) })
	}
	save(u.host.Save)
	if out.Code == outcome.CodeInstalled && u.unsaved == nil {
		u.prune(u.host.Record)
		u.pruneVersions()
	}
	if u.client != nil && news && ctx.Err() == nil {
		before, asked := u.host.Reported, u.host.Asked
		if _, rerr := u.ask(ctx, u.client, u.host, u.trust); rerr != nil {
			u.say("the report was not delivered; the next poll sends it: %v", rerr)
		} else {
			u.say("reported: %s", out.State)
		}
		switch {
		case u.host.Asked != asked:
			save(u.host.Save)
		case u.host.Reported != before:
			save(u.host.SaveReported)
		}
	}
	u.log.Info(r.String())
	return r, err
}

// renamed reports whether what is installed has a new release number.
func (u *update) renamed(c cycle.Cycle) bool {
	i := u.before
	if i == nil || c.Installed == nil || i.Package != c.Installed.Package || i.Release == c.Installed.Release {
		return false
	}
	u.say("release %d is the package that is installed as release %d", c.Installed.Release, i.Release)
	return true
}

// conditionError is what stops an update on the host itself, and may end by itself.
type conditionError struct{ err error }

func (e *conditionError) Error() string { return e.err.Error() }
func (e *conditionError) Unwrap() error { return e.err }

// codeOf classifies an error by the table of package cycle.
func codeOf(err error) string {
	var expired *trust.ExpiredError
	var status *wire.StatusError
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case fault.IsRefusal(err):
		return outcome.CodeUnverified
	case errors.As(err, &expired):
		return outcome.CodeExpired
	case errors.Is(err, wire.ErrUnreachable), errors.Is(err, trust.ErrUnreachable):
		return outcome.CodeUnreachable
	case errors.As(err, &status):
		return outcome.CodeRejected
	case errors.As(err, &path), errors.As(err, &link), errors.As(err, new(*conditionError)):
		return outcome.CodeHost
	}
	return outcome.CodeBroken
}

// verdict asks the server, verifies what it says, and decides.
func (u *update) verdict(ctx context.Context) (schema.Verdict, error) {
	anchor, keys, threshold, err := u.host.Trusted()
	if err != nil {
		return schema.Verdict{}, err
	}
	u.keys, u.threshold = keys, threshold
	if u.trust, err = trust.Open(u.files.Stored(u.host.TrustDir()), anchor, u.opts.Now); err != nil {
		return schema.Verdict{}, err
	}
	u.trust.Later()
	u.host.Learn(u.trust.Policy())
	found, err := u.poll(ctx, u.host, u.trust, u.insecure)
	if err != nil {
		return schema.Verdict{}, err
	}
	client, answer := found.client, found.answer
	u.client = client
	u.host.LastCheck = u.opts.Now().UTC().Truncate(time.Second)
	timestamp, src := u.trust.Timestamp(), wire.Source{Client: client}
	src.NewestRoot, _ = u.trust.Versions()
	if answer == nil {
		u.say("polled %s: nothing new", client.Server())
	} else {
		u.say("polled %s: it brings %d files", client.Server(), len(answer.Files))
		src.NewestRoot, src.Files = answer.Root, answer.Files
		u.host.Hold, u.host.HoldCode = plain.Name(answer.Hold), answer.HoldCode
		if slices.ContainsFunc(answer.Files, func(f schema.PollFile) bool { return f.Name == "timestamp.json" }) {
			timestamp = nil // not what is held
		}
	}
	if err := u.refresh(ctx, src, timestamp); err != nil {
		return schema.Verdict{}, err
	}
	root, version := u.trust.Versions()
	u.host.Root, u.host.Timestamp = root, version
	u.host.Reached(found.way)
	u.host.Learn(u.trust.Policy())
	u.say("verified timestamp %d, root %d", version, root)

	u.assigned, err = u.trust.Assignment(ctx, src, u.host.Registration.Host)
	if errors.Is(err, trust.ErrNoTarget) && answer != nil && answer.Name != "" && u.behind == "" {
		if u.assigned, err = u.rename(ctx, u.host, u.trust, src, answer.Name); err == nil {
			u.client.Close()
			u.client, err = u.dial(u.host, found.way, u.clock(u.trust))
		}
	}
	if errors.Is(err, trust.ErrNoTarget) {
		v := gone(u.host, u.opts.Now())
		u.say("decided: %s", v.Why)
		return v, nil
	}
	if err != nil {
		return schema.Verdict{}, err
	}
	if site := u.assigned.Site; site != "" && schema.CheckName(site) == nil {
		u.host.Registration.Site = site
		u.host.Learn(u.trust.Policy())
	}
	u.host.Gone = time.Time{}
	u.host.Snapshot, u.host.Bin = u.trust.Digests(u.host.Registration.Host)
	policy := u.trust.Policy()
	v := policy.Decide(u.assigned, u.host.Standing(), u.now(policy))
	u.target = u.assigned.SHA256
	if v.Install() && u.host.Hold != "" {
		v = schema.Verdict{Code: outcome.OfHold(u.host.HoldCode),
			Why: "the server holds this host back: " + u.host.Hold}
	}
	u.say("decided: %s: %s", v.Code, v.Why)
	return v, nil
}

// urgent reports whether what is installed is revoked.
func (u *update) urgent() bool {
	p, i := u.trust.Policy(), u.host.Installed
	return p != nil && i != nil && slices.Contains(p.Revoked, i.Package)
}

// refresh verifies what the server offers. A timestamp that is genuine but older than one verified before is what a
// site hands out that lags behind, or was restored from a backup: it is left alone, and the host goes on with what it
// holds, as long as that has not expired.
func (u *update) refresh(ctx context.Context, src wire.Source, timestamp []byte) error {
	err := u.trust.Refresh(ctx, src, timestamp)
	var old *trust.RollbackError
	held := u.trust.Timestamp()
	if !errors.As(err, &old) || old.Role != trust.RoleTimestamp || held == nil {
		return err
	}
	lag := fmt.Sprintf("%d versions", old.Seen-old.Got)
	if old.Seen-old.Got == 1 {
		lag = "1 version"
	}
	u.behind = fmt.Sprintf("the site is behind by %s: it offers timestamp %d, and %d was verified before",
		lag, old.Got, old.Seen)
	u.say("%s", u.behind)
	return u.trust.Refresh(ctx, src, held)
}

// now is the clock, which is never believed earlier than the newest verified policy.
func (u *update) now(p *schema.Policy) time.Time {
	now := u.opts.Now()
	if now.Before(p.Issued) {
		u.say("the clock says %s, but policy was issued at %s: using that time",
			now.UTC().Format(time.RFC3339), p.Issued.UTC().Format(time.RFC3339))
		return p.Issued
	}
	return now
}

// prepare takes one candidate from its manifest to a package that is verified and put together.
func (u *update) prepare(ctx context.Context, c schema.Candidate) (*cycle.Installed, error) {
	m, envelopes, err := u.manifest(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := u.system().CanInstall(m.Format); err != nil {
		return nil, &conditionError{err}
	}
	if err := u.system().Provides(ctx, m.Needs); err != nil {
		return nil, &conditionError{err}
	}
	if err := u.signed(envelopes, m, c); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(u.files.Stored(segmentsDir), 0o700); err != nil {
		return nil, err
	}
	u.adopt(ctx, m)
	if err := u.segments(ctx, m); err != nil {
		return nil, err
	}
	// What vouches for the package is durable before it is installed.
	if err := u.trust.Stage(); err != nil {
		return nil, err
	}
	if u.staged, err = u.stage(ctx, m); err != nil {
		return nil, err
	}
	if err := u.trust.Commit(m.Format == schema.Tgz && u.system().SyncedWith(u.files.Stored())); err != nil {
		return nil, err
	}
	u.got = m.SHA256
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &cycle.Installed{Package: m.SHA256, Manifest: c.Manifest, Recipe: m.Recipe, Release: c.Release,
		Name: m.Name, Version: m.Version, Format: m.Format}, nil
}
