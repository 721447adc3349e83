package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
)

// Run polls the centre until ctx ends. look serves the newest release of the store, if it verifies.
func (s *Site) Run(ctx context.Context, every time.Duration, look func(context.Context) error) {
	for {
		more, err := s.Step(ctx, look)
		if ctx.Err() != nil {
			return
		}
		wait := every/2 + rand.N(every)
		if more && err == nil {
			wait = 0
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// pollWithin bounds one poll.
const pollWithin = 2 * time.Minute

// Step polls the centre once, and acts on what it answers: verdicts first, so that no release is handed out further
// than they let it. more says that there is more to tell, or to be told. look may be nil: nothing is served yet.
func (s *Site) Step(ctx context.Context, look func(context.Context) error) (more bool, err error) {
	s.stepping.Lock()
	defer s.stepping.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	reports, err := s.spool.Next(ctx, uplink.MaxReports)
	if err != nil {
		return false, err
	}
	q := uplink.PollRequest{Instance: s.instance, Status: s.status(), Reports: reports}
	s.mu.Lock()
	q.Cursor, q.Verdicts = s.cursor, s.sum
	held := s.held
	if s.staged != nil {
		held = nil
	}
	q.Hosts = uplink.SumOf(held)
	if s.staged != nil {
		q.Hosts = schema.Digest{}
	}
	fresh := maps.Clone(s.fresh)
	s.mu.Unlock()

	c, err := s.dial()
	if err != nil {
		return false, err
	}
	a, err := c.For("").SitePoll(ctx, q)
	s.note(err)
	if err != nil {
		return false, s.unlinked(err)
	}
	problem := plain.Line(a.Problem, uplink.MaxProblem)
	s.mu.Lock()
	if problem != "" && problem != s.centre {
		s.log.Error("the centre says that something is wrong with this site", "problem", problem)
	}
	s.contact, s.denied, s.centre = time.Now(), "", problem
	s.news.root = a.Root
	s.mu.Unlock()
	if a.Taken > 0 {
		if err := s.spool.Done(ctx, a.Taken); err != nil {
			return false, err
		}
	}
	if err := s.takeVerdicts(ctx, a.Verdicts); err != nil {
		return false, err
	}
	if err := s.takeHosts(ctx, a, fresh); err != nil {
		return false, err
	}
	s.offer(a.Timestamp)
	if look != nil {
		s.looked(look(ctx))
	}
	return a.More || len(reports) > 0 && s.spool.Stat().Reports > 0, nil
}

// unlinked keeps why the centre does not answer as it should.
func (s *Site) unlinked(err error) error {
	if errors.Is(err, wire.ErrUnreachable) || errors.Is(err, context.Canceled) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := err.Error(); text != s.denied {
		s.denied = text
		s.log.Error("the centre refuses this site", "error", err, "hint", fault.HintOf(err))
	}
	return err
}

// offer makes a timestamp the head of the store, until it is taken or refused.
func (s *Site) offer(stamp []byte) {
	if stamp == nil {
		return
	}
	var t struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if err := schema.Decode(stamp, &t); err != nil || t.Signed.Version < 1 ||
		t.Signed.Version > schema.MaxTimestampVersion {
		s.looked(fmt.Errorf("the centre's timestamp is not one"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.stamp, s.news.version = stamp, t.Signed.Version
}

// looked keeps why the newest release is not served.
func (s *Site) looked(err error) {
	text := ""
	if err != nil {
		text = "it does not verify, or is older than what was served"
		if errors.Is(err, wire.ErrUnreachable) {
			text = "it could not be fetched"
		}
	}
	s.mu.Lock()
	before := s.look
	s.look = text
	s.mu.Unlock()
	if err != nil && text != before {
		s.log.Error("the centre's newest release is not served; the last verified one is", "error", err, "hint",
			fault.HintOf(err))
	}
}

const verdictsState = "verdicts"

func (s *Site) takeVerdicts(ctx context.Context, v *uplink.Verdicts) error {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err == nil {
		err = s.spool.SetState(ctx, verdictsState, string(b))
	}
	if err == nil {
		s.setVerdicts(v)
	}
	return err
}

func (s *Site) setVerdicts(v *uplink.Verdicts) {
	var rows []inventory.Verdict
	for _, one := range v.List {
		rows = append(rows, inventory.Verdict{Name: one.Name, Version: one.Version, Body: one.Body})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verdicts, s.sum = rows, v.Sum
}

func (s *Site) recallVerdicts(ctx context.Context) error {
	text, err := s.spool.State(ctx, verdictsState)
	if err != nil || text == "" {
		return err
	}
	var v uplink.Verdicts
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("the verdicts that were kept: %w", err)
	}
	s.setVerdicts(&v)
	return nil
}

// takeHosts brings the registrations up to date. fresh are those that the site had not been told of when it asked.
func (s *Site) takeHosts(ctx context.Context, a *uplink.PollAnswer, fresh map[string]bool) error {
	for i, h := range a.Hosts {
		if schema.CheckHostName(h.Host) != nil || h.Name != "" && schema.CheckHostName(h.Name) != nil {
			return fmt.Errorf("the centre's answer has a registration of %.80q", h.Host)
		}
		h.At = h.At.UTC()
		a.Hosts[i] = h
	}
	s.mu.Lock()
	staged := s.staged
	held := maps.Clone(s.held)
	s.mu.Unlock()
	if a.All {
		staged = map[string]uplink.Registration{}
	}
	if staged != nil {
		staged = maps.Clone(staged)
		for _, h := range a.Hosts {
			staged[h.Host] = h
		}
		for _, name := range a.Gone {
			delete(staged, name)
		}
		if a.More {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.staged, s.cursor = staged, a.Cursor
			return nil
		}
		a.Hosts, a.Gone = slices.Collect(maps.Values(staged)), nil
		for name := range held {
			if _, ok := staged[name]; !ok {
				a.Gone = append(a.Gone, name)
			}
		}
	}
	if err := s.takeChanges(ctx, a, held, fresh); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.staged, s.cursor = held, nil, a.Cursor
	for name := range fresh { // by now the centre has told, or it is not so
		delete(s.fresh, name)
	}
	s.renumber()
	return nil
}

// since reports whether a host was registered here after the centre was asked.
func (s *Site) since(name string, fresh map[string]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh[name] && !fresh[name]
}

// takeChanges records what changes in held.
func (s *Site) takeChanges(ctx context.Context, a *uplink.PollAnswer, held map[string]uplink.Registration,
	fresh map[string]bool) error {
	var changed []uplink.Registration
	for _, h := range a.Hosts {
		if before, ok := held[h.Host]; ok && before == h {
			continue
		}
		if !s.since(h.Host, fresh) {
			if err := s.record(ctx, h); err != nil {
				return err
			}
		}
		held[h.Host] = h
		changed = append(changed, h)
	}
	for _, name := range a.Gone {
		delete(held, name)
		if s.since(name, fresh) {
			continue
		}
		err := s.o.Inventory.Forget(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(changed)+len(a.Gone) == 0 {
		return nil
	}
	return s.spool.SetHosts(ctx, changed, a.Gone)
}

const (
	maxAdopting   = 4           // that the centre is asked about at a time
	refusedFor    = time.Minute // it is not asked again about a host that it does not know
	maxRefused    = 10_000
	requestWithin = time.Minute
)

// refusal is a host's name and a secret that the centre does not know.
type refusal struct {
	host   string
	secret schema.Digest
}

// ErrUnknown says that the centre does not know a host with that secret.
var ErrUnknown = errors.New("the centre does not know the host with that secret")

// Own are the names by which the fleet may list the site's hosts, in order.
func (s *Site) Own() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

// anyHost is a host of the site; empty: it has none.
func (s *Site) anyHost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.held {
		return name
	}
	return ""
}

// renumber makes own anew. s.mu is held, or nobody else has s.
func (s *Site) renumber() {
	own := make([]string, 0, len(s.held)+len(s.fresh))
	for name, h := range s.held {
		if own = append(own, name); h.Name != "" {
			own = append(own, h.Name)
		}
	}
	for name := range s.fresh {
		own = append(own, name)
	}
	slices.Sort(own)
	s.own = slices.Compact(own)
}

// Register hands a registration on, and keeps what comes of it. Its error is the centre's, if that is a
// *wire.StatusError: nothing was registered.
func (s *Site) Register(ctx context.Context, q uplink.RegisterRequest, user string) (*schema.RegisterAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	var a *schema.RegisterAnswer
	err := s.ask("", func(c *wire.Client) (err error) {
		a, err = c.Forward(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, s.keep(ctx, uplink.Registration{Host: q.Request.Host, Secret: schema.DigestOf([]byte(a.Secret)),
		User: user, Platform: q.Request.Platform, Agent: q.Request.Agent, At: time.Now().UTC()})
}

// keep records a registration that the site was not told of yet.
func (s *Site) keep(ctx context.Context, h uplink.Registration) error {
	if err := s.record(ctx, h); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh[h.Host] = true; h.Name != "" {
		s.fresh[h.Name] = true
	}
	s.renumber()
	return nil
}

func (s *Site) record(ctx context.Context, h uplink.Registration) error {
	if d, err := s.o.Inventory.Secret(ctx, h.Host); err == nil && d == h.Secret {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := s.o.Inventory.Register(ctx, inventory.Registration{Host: h.Host, Secret: h.Secret, User: h.User,
		Platform: h.Platform, Agent: h.Agent, At: h.At}, inventory.Claim{Replace: true})
	return err
}

// Adopt asks the centre about a host that came here with a secret that this site does not know. It is ErrUnknown if the
// centre does not know it either, wrapped about what the centre says. The host is one of the site's from then on.
func (s *Site) Adopt(ctx context.Context, host string, secret schema.Digest) error {
	which, now := refusal{host, secret}, time.Now()
	s.mu.Lock()
	until, refused := s.refused[which]
	s.mu.Unlock()
	if refused && now.Before(until) {
		return ErrUnknown
	}
	select {
	case s.adopting <- struct{}{}:
		defer func() { <-s.adopting }()
	default:
		return fmt.Errorf("%w: too many hosts that this site does not know", wire.ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	var h *uplink.Registration
	err := s.ask("", func(c *wire.Client) (err error) {
		h, err = c.Adopt(ctx, uplink.AdoptRequest{Host: host, Secret: secret})
		return err
	})
	var status *wire.StatusError
	if errors.As(err, &status) && status.Status == 401 && !status.Foreign {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.refused) >= maxRefused {
			clear(s.refused)
		}
		s.refused[which] = now.Add(refusedFor)
		return fault.Hint(fmt.Errorf("%w: %s", ErrUnknown, status.Message), "%s", fault.HintOf(err))
	}
	if err != nil {
		return err
	}
	return s.keep(ctx, *h)
}

// Unregister ends a host's registration at the centre.
func (s *Site) Unregister(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, requestWithin)
	defer cancel()
	return s.ask(host, func(c *wire.Client) error { return c.Unregister(ctx) })
}

// Report keeps what a host said until the centre has it. It is on disk once this returns nil.
func (s *Site) Report(ctx context.Context, host string, seen inventory.Seen) error {
	return s.spool.Add(ctx, uplink.HostReport{Host: host, At: seen.At.UTC(), Address: seen.Address,
		Timestamp: seen.Timestamp, Root: seen.Root, Report: seen.Report})
}

// Verdicts are how far the centre lets releases go.
func (s *Site) Verdicts(context.Context) ([]inventory.Verdict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdicts, nil
}

// Decide does nothing: a site opens no gate.
func (s *Site) Decide(context.Context, inventory.Verdict) error {
	return errors.New("how far a release may go is the centre's to decide")
}

// Undecide does nothing: the centre does.
func (s *Site) Undecide(context.Context, ...string) error { return nil }
