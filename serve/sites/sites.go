// Package sites is the centre's side of remote sites: which hosts are whose, what each site is told of them, and what
// it says of itself.
//
// A host is of the site that signed metadata give it to, and of the site that it came to with its secret or was
// registered through, for as long as it is not heard of elsewhere: it may reach no other. A site is told of its own
// hosts alone, and what it says of others does not count.
//
//	roster.go   all registrations in memory, by the inventory's changes; whose each host is
//	told.go     what a site is told: the difference to what it holds
//	contact.go  what each site said of itself last, and whether two go by one name
//	silent.go   which are not heard of any more
package sites

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
)

// Inventory is what a centre remembers; *inventory.DB is one.
type Inventory interface {
	All(ctx context.Context) iter.Seq2[inventory.Host, error]
	Number(ctx context.Context) (int64, error)
	Changes(ctx context.Context, after int64) (*inventory.Changes, error)
	Verdicts(ctx context.Context) ([]inventory.Verdict, error)
	Sites(ctx context.Context) ([]inventory.Site, error)
	Heard(ctx context.Context, s inventory.Site) error
}

// Registry knows the sites of a fleet. Make it with New. It is safe for concurrent use.
type Registry struct {
	inventory Inventory
	log       *slog.Logger
	now       func() time.Time

	mu       sync.Mutex // of what follows
	roster   roster
	told     map[string]*told
	contacts map[string]*Contact
}

// New asks i for nothing before a site is heard of.
func New(i Inventory, log *slog.Logger, now func() time.Time) *Registry {
	return &Registry{inventory: i, log: log, now: now, told: map[string]*told{}, contacts: map[string]*Contact{},
		roster: roster{hosts: map[string]host{}, via: map[string]string{}, number: -1}}
}

// Allows says why a user may not speak for a site; nil: it may.
func Allows(u schema.User, name, site string, p *schema.Policy) error {
	switch _, known := p.Sites[site]; {
	case !u.Allows(schema.PermSite, site):
		return fault.Hint(&deniedError{"user " + name + " may not speak for site " + site},
			"permissions: site: [\"%s\"] in access.cue lets it, once reconcile has published that", site)
	case site == schema.CentralSite:
		return fault.Hint(&deniedError{"the site central is the centre itself"}, "give the remote site its own name")
	case !known:
		return fault.Hint(&deniedError{"the fleet " + p.Fleet + " has no site " + site},
			"add it under sites/ of the config repo and reconcile, or check --site")
	}
	return nil
}

type deniedError struct{ text string }

func (e *deniedError) Error() string { return e.text }

// Owns reports whether a host, by the name that it goes under, is of a site.
func (r *Registry) Owns(ctx context.Context, rel *origin.Release, site, host string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.roster.catchUp(ctx, r.inventory); err != nil {
		return false, err
	}
	return r.roster.owns(rel, site, host), nil
}

// Came notes that a registered host came to a site with its secret, was registered through it, or polled there; an
// empty site is this server itself.
func (r *Registry) Came(name, site string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.roster.number < 0 && site == "" {
		return // there is no site yet
	}
	if r.roster.via[name] != site {
		if r.roster.version++; site == "" {
			delete(r.roster.via, name)
		} else {
			r.roster.via[name] = site
		}
	}
}

// News reports whether a host's poll at that time is later than what is known of it, and remembers that it is known: a
// report that comes twice, or after a later one by another way, does not count.
func (r *Registry) News(name string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.roster.hosts[name]
	if !ok || !h.after(at) {
		return false
	}
	h.seen = at
	r.roster.hosts[name] = h
	return true
}

// Poll answers what is new for a site. Reports are the caller's, who has taken them.
func (r *Registry) Poll(ctx context.Context, rel *origin.Release, site, address, user string, q *uplink.PollRequest,
) (*uplink.PollAnswer, error) {
	verdicts, err := r.inventory.Verdicts(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.roster.catchUp(ctx, r.inventory); err != nil {
		return nil, err
	}
	a := &uplink.PollAnswer{Now: r.now().UTC(), Root: rel.Root, Verdicts: relevant(verdicts, rel, q.Verdicts)}
	if q.Status.Timestamp != rel.Timestamp {
		a.Timestamp = rel.Stamp
	}
	if n := len(q.Reports); n > 0 {
		a.Taken = q.Reports[n-1].Number
	}
	t := r.told[site]
	if t == nil {
		t = &told{}
		r.told[site] = t
	}
	t.answer(a, &r.roster, rel, site, q)
	a.Problem, err = r.hear(ctx, site, address, user, q)
	return a, err
}

// Registration is that of a host as a site of it is told.
func (r *Registry) Registration(ctx context.Context, rel *origin.Release, name string) (uplink.Registration, bool,
	error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.roster.catchUp(ctx, r.inventory); err != nil {
		return uplink.Registration{}, false, err
	}
	h, ok := r.roster.hosts[name]
	return h.told(rel), ok, nil
}
