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

// Codes of outcomes beside those of schema.Decide.
const (
	codeInstalled   = "installed"
	codeRolledBack  = "rolled-back"
	codeUnreachable = "unreachable"
	codeRejected    = "rejected" // the server does not accept this host's request
	codeExpired     = "expired"
	codeNoTarget    = "no-target"
	codeServerHold  = "server-hold"
	codeSiteBehind  = "site-behind"
	codeUnverified  = "unverified"
	codeInstall     = "install-failed"
	codeHost        = "host-condition" // of the host's own, which stopped an installation; it is tried again by itself
	codeUnhealthy   = "unhealthy"
	codeBroken      = "error"
)

// maxAttempts is how often an installation that never comes to an end, a crash each time, is begun.
const maxAttempts = 3

// Result is what an update, or a rollback, came to.
type Result struct {
	state.Outcome
	Host    string           `json:"host"`
	Package *state.Installed `json:"package,omitempty"` // what is installed now
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
		return r.State + ": " + wire.Printable(r.Error)
	}
	switch {
	case r.State == schema.StateCurrent && r.Code == codeInstalled:
		return fmt.Sprintf("updated: %s runs %s%s", r.Host, runs, fetched)
	case r.State == schema.StateCurrent:
		return fmt.Sprintf("current: %s runs %s: %s%s", r.Host, runs, r.Why, fetched)
	case r.Error != "":
		return fmt.Sprintf("%s: %s runs %s: %s%s", r.State, r.Host, runs, wire.Printable(r.Error), fetched)
	}
	return fmt.Sprintf("%s: %s runs %s: %s%s", r.State, r.Host, runs, r.Why, fetched)
}

// update is one run.
type update struct {
	*Agent
	host      *state.Host
	anchor    []byte
	keys      []schema.AcceptedKey
	threshold int
	trust     *trust.Client
	client    *wire.Client
	assigned  *schema.Assignment
	target    schema.Digest
	got       schema.Digest // assembled and verified in this run
	renamed   bool          // what is installed has a new release number
	behind    string        // how far the server is behind what was verified before; empty: it is not
}

// UpdateOptions vary an update.
type UpdateOptions struct {
	Retry bool // forget which releases failed here
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
	if o.Retry {
		u.host.Failed, u.host.Waiting = nil, nil
	}
	out, err := u.run(ctx)
	return u.conclude(ctx, out, err)
}

// conclude writes the outcome down, reports it if it is news, and says it.
func (u *update) conclude(ctx context.Context, out state.Outcome, err error) (Result, error) {
	if err != nil {
		out = u.failure(out, err)
		u.log.Error("update", "error", err, "hint", fault.HintOf(err))
	}
	out.Target, out.Downloaded = u.target, u.got
	if out.Target.IsZero() {
		out.Target = u.host.Last.Target
	}
	if out.Downloaded.IsZero() {
		out.Downloaded = u.host.Last.Downloaded
	}
	last := u.host.Last
	failed := out.State != last.State || out.Code != last.Code || out.Error != last.Error
	news := failed || out.Target != last.Target || u.renamed
	switch {
	case out.State == schema.StateCurrent:
		u.host.LogTail = ""
	case err != nil && failed: // not what fails again and again, and would be another text each time
		u.host.LogTail = u.tail.without(u.host.Registration.Secret)
	}
	was := u.host.Withheld.Critical(u.opts.Now())
	u.withhold(out)
	r := Result{Outcome: out, Host: u.host.Registration.Host, Package: u.host.Installed,
		Critical: u.host.Withheld.Critical(u.opts.Now())}
	if r.Critical != "" {
		u.say("critical: %s", r.Critical)
	}
	news = news || (r.Critical == "") != (was == "")
	if u.client != nil {
		r.Fetched = u.client.Fetched()
		defer u.client.Close()
	}
	if out.Code == codeInstalled || !u.got.IsZero() {
		u.host.Fetched = r.Fetched
	}
	if r.State == schema.StateCurrent && out.Code == codeInstalled {
		out.Code = schema.CodeCurrent
	}
	u.host.Last = out
	save := func() {
		if serr := u.host.Save(); serr != nil {
			u.log.Error("update", "error", serr, "hint", fault.HintOf(serr))
			err = errors.Join(err, serr)
		}
	}
	save()
	if u.client != nil && news && ctx.Err() == nil {
		before := u.host.Reported
		if _, rerr := u.ask(ctx, u.client, u.host, u.trust); rerr != nil {
			u.say("the report was not delivered; the next poll sends it: %v", rerr)
		} else {
			u.say("reported: %s", out.State)
		}
		if u.host.Reported != before {
			save()
		}
	}
	u.log.Info(r.String())
	return r, err
}

// failure classifies an error.
func (u *update) failure(out state.Outcome, err error) state.Outcome {
	var expired *trust.ExpiredError
	var status *wire.StatusError
	out.State, out.Error = schema.StateFailed, err.Error()
	switch {
	case fault.IsRefusal(err):
		out.State = schema.StateRefused
		out.Code = cmp.Or(out.Code, codeUnverified)
	case errors.As(err, &expired):
		out.State, out.Code = schema.StateHeld, codeExpired
	case errors.Is(err, wire.ErrUnreachable), errors.Is(err, trust.ErrUnreachable):
		out.Code = codeUnreachable
	case errors.As(err, &status):
		out.Code = codeRejected
	default:
		out.Code = cmp.Or(out.Code, codeBroken)
	}
	return out
}

func (u *update) run(ctx context.Context) (out state.Outcome, err error) {
	if u.anchor, u.keys, u.threshold, err = u.host.Trusted(); err != nil {
		return out, err
	}
	if u.trust, err = trust.Open(u.files.Stored(trustDir), u.anchor, u.opts.Now); err != nil {
		return out, err
	}
	verdict, err := u.verdict(ctx)
	if err == nil && verdict.Install() {
		return u.install(ctx, verdict.Package)
	}
	// Nothing shall be installed, or it is not known: an installation that a crash cut short must not stay half done.
	if u.host.Pending != nil {
		if back := u.goBack(context.WithoutCancel(ctx), "rolling back an interrupted installation"); back != nil {
			return out, errors.Join(err, back)
		}
	}
	if err != nil {
		return out, err
	}
	out = state.Outcome{State: schema.StateHeld, Code: verdict.Code, Why: verdict.Why}
	switch verdict.Code {
	case schema.CodeCurrent:
		out.State = schema.StateCurrent
		u.adopt(verdict.Package)
	case schema.CodeFailed:
		out.State, out.Error = schema.StateFailed, cmp.Or(u.host.WhyFailed(verdict.Package.Release), verdict.Why)
	}
	if u.behind != "" && out.State != schema.StateFailed {
		out = state.Outcome{State: schema.StateHeld, Code: codeSiteBehind,
			Why: u.behind + "; by the metadata on this host: " + out.Why}
	}
	return out, nil
}

// verdict asks the server, verifies what it says, and decides.
func (u *update) verdict(ctx context.Context) (schema.Verdict, error) {
	client, answer, err := u.poll(ctx, u.host, u.trust)
	if err != nil {
		return schema.Verdict{}, err
	}
	u.client = client
	u.host.LastCheck = u.opts.Now().UTC().Truncate(time.Second)
	timestamp, src := u.trust.Timestamp(), wire.Source{Client: client}
	src.NewestRoot, _ = u.trust.Versions()
	if answer == nil {
		u.say("polled %s: nothing new", client.Server())
	} else {
		u.say("polled %s: it brings %d files", client.Server(), len(answer.Files))
		src.NewestRoot, src.Files = answer.Root, answer.Files
		u.host.Hold = wire.Printable(answer.Hold)
		if answer.Site != "" && schema.CheckName(answer.Site) == nil {
			u.host.Registration.Site = answer.Site
		}
		if slices.ContainsFunc(answer.Files, func(f schema.PollFile) bool { return f.Name == "timestamp.json" }) {
			timestamp = nil // not what is held
		}
	}
	if err := u.refresh(ctx, src, timestamp); err != nil {
		return schema.Verdict{}, err
	}
	root, version := u.trust.Versions()
	u.host.Root, u.host.Timestamp = root, version
	u.say("verified timestamp %d, root %d", version, root)

	u.assigned, err = u.trust.Assignment(ctx, src, u.host.Registration.Host)
	if errors.Is(err, trust.ErrNoTarget) {
		v := schema.Verdict{Code: codeNoTarget, Why: "the fleet has no package for host " + u.host.Registration.Host}
		u.say("decided: %s", v.Why)
		return v, nil
	}
	if err != nil {
		return schema.Verdict{}, err
	}
	u.host.Snapshot, u.host.Bin = u.trust.Digests(u.host.Registration.Host)
	policy := u.trust.Policy()
	v := policy.Decide(u.assigned, u.host.Standing(), u.now(policy))
	u.target = u.assigned.SHA256
	if v.Install() && u.host.Hold != "" {
		v = schema.Verdict{Code: codeServerHold, Why: "the server holds this host back: " + u.host.Hold}
	}
	u.say("decided: %s: %s", v.Code, v.Why)
	return v, nil
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

// adopt takes over the number of a newer release that gives this host what it has installed already, so that reports
// name the release that they describe.
func (u *update) adopt(c schema.Candidate) {
	if i := u.host.Installed; i != nil && i.Package == c.SHA256 && i.Release < c.Release {
		u.say("release %d is the package that is installed as release %d", c.Release, i.Release)
		i.Release, u.renamed = c.Release, true
	}
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

// install takes one candidate from its manifest to a healthy host.
func (u *update) install(ctx context.Context, c schema.Candidate) (state.Outcome, error) {
	attempts := 0
	if p := u.host.Pending; p != nil && p.Package == c.SHA256 {
		attempts = p.Attempts
	}
	if attempts >= maxAttempts {
		err := fmt.Errorf("installing release %d failed %d times without completing", c.Release, attempts)
		u.host.MarkFailed(c.Release, err.Error())
		return state.Outcome{Code: codeInstall}, errors.Join(err, u.goBack(context.WithoutCancel(ctx), "rolling back"))
	}
	if w := u.host.Waiting; w != nil && w.Package == c.SHA256 && u.opts.Now().Before(w.Next) {
		return state.Outcome{Code: codeHost}, fault.Hint(errors.New(w.Why),
			"it is tried again from %s on; at once: bakehouse-agent update --retry", w.Next.UTC().Format(time.RFC3339))
	}
	m, envelopes, err := u.manifest(ctx, c)
	if err != nil {
		return state.Outcome{}, err
	}
	if err := u.system().CanInstall(m.Format); err != nil {
		return state.Outcome{}, err
	}
	if err := u.system().Provides(ctx, m.Needs); err != nil {
		return state.Outcome{Code: codeHost}, err
	}
	if err := u.signed(envelopes, m, c); err != nil {
		return state.Outcome{}, err
	}
	if err := u.segments(ctx, m); err != nil {
		return state.Outcome{}, err
	}
	staged, err := u.stage(m)
	if err != nil {
		return state.Outcome{}, err
	}
	defer staged.remove()
	u.got = m.SHA256
	next := state.Installed{Package: m.SHA256, Manifest: c.Manifest, Recipe: m.Recipe, Release: c.Release,
		Name: m.Name, Version: m.Version, Format: m.Format}
	if err := ctx.Err(); err != nil {
		return state.Outcome{}, err
	}
	return u.apply(context.WithoutCancel(ctx), next, staged, attempts+1)
}

// accept makes next the installed package.
func (u *update) accept(next state.Installed) {
	next.At = u.opts.Now().UTC().Truncate(time.Second)
	// Installed again after a crash or manually: what was before stays what was before.
	if i := u.host.Installed; i != nil && i.Package != next.Package {
		u.host.Previous = i
	}
	u.host.Installed, u.host.Pending, u.host.Waiting = &next, nil, nil
	u.host.LastUpdate = next.At
	u.host.Forgive(next.Release)
}
