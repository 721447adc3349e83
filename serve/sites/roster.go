package sites

import (
	"context"
	"time"

	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
)

// roster has all registrations that count.
type roster struct {
	number  int64 // of the last change; -1: nothing is read yet
	version int64 // grows when a registration, or whose a host is, changes
	hosts   map[string]host
	via     map[string]string // the site that a host was heard of through last, if it was one
}

type host struct {
	uplink.Registration
	seen time.Time // of its last poll; in whole seconds if it was read
}

// after reports whether a poll at that time is later than the last one.
func (h host) after(at time.Time) bool {
	if h.seen.Nanosecond() == 0 {
		return at.Unix() >= h.seen.Unix() // the one of that second is the same, or another: it makes no difference
	}
	return at.After(h.seen)
}

// told is the registration as a site is told.
func (h host) told(rel *origin.Release) uplink.Registration {
	if now, renamed := rel.NameNow(h.Host); renamed {
		h.Name = now
	}
	return h.Registration
}

// owns reports whether a host is of a site, by any of its names.
func (r *roster) owns(rel *origin.Release, site, name string) bool {
	a := rel.Hosts[name]
	if now, renamed := rel.NameNow(name); renamed {
		a = rel.Hosts[now]
	}
	if a != nil && a.Site == site {
		return true
	}
	for _, n := range append([]string{name}, rel.OtherNames(name)...) {
		if _, registered := r.hosts[n]; registered {
			return r.via[n] == site
		}
	}
	return false
}

// catchUp reads what has changed.
func (r *roster) catchUp(ctx context.Context, i Inventory) error {
	if r.number >= 0 {
		c, err := i.Changes(ctx, r.number)
		if err != nil {
			return err
		}
		if !c.Behind {
			for _, h := range c.Hosts {
				r.take(&h)
			}
			for _, name := range c.Gone {
				r.drop(name)
			}
			for name, at := range c.Polled {
				r.saw(name, at)
			}
			r.number = c.Number
			return nil
		}
	}
	number, err := i.Number(ctx)
	if err != nil {
		return err
	}
	before := r.hosts
	r.hosts = make(map[string]host, len(before))
	for h, err := range i.All(ctx) {
		if err != nil {
			r.hosts, r.number = before, -1
			return err
		}
		r.take(&h)
	}
	r.number = number
	r.version++
	return nil
}

func (r *roster) take(h *inventory.Host) {
	if h.End.How != "" {
		r.drop(h.Host)
		return
	}
	before, known := r.hosts[h.Host]
	next := host{uplink.Registration{Host: h.Host, Secret: h.Secret, User: h.User, Token: h.Token,
		Platform: h.Platform, Agent: h.Agent, At: h.At.UTC()}, before.seen}
	if !known || before.Registration != next.Registration {
		r.version++
	}
	r.hosts[h.Host] = next
	r.saw(h.Host, h.Seen.At)
}

func (r *roster) drop(name string) {
	if _, known := r.hosts[name]; known {
		delete(r.hosts, name)
		delete(r.via, name)
		r.version++
	}
}

func (r *roster) saw(name string, at time.Time) {
	if h, ok := r.hosts[name]; ok && at.Unix() > h.seen.Unix() {
		h.seen = at
		r.hosts[name] = h
	}
}
