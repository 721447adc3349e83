package sites

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/plain"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
)

// Contact is the last that the centre heard of a site.
type Contact struct {
	Name     string        `json:"name"`
	At       time.Time     `json:"at"`
	Address  string        `json:"address"`
	User     string        `json:"user"` // that it spoke as
	Instance string        `json:"instance"`
	Status   uplink.Status `json:"status"`
	Skew     time.Duration `json:"skew,omitempty"` // by how much its clock is ahead of the centre's
	// Other is another site that goes by the same name.
	Other *Other `json:"other,omitempty"`

	before Other // the instance before this one
	saved  time.Time
}

// Other is another instance of a site: where and when it was heard of last.
type Other struct {
	Instance string    `json:"instance"`
	Address  string    `json:"address"`
	At       time.Time `json:"at"`
}

const (
	savedEvery = 30 * time.Second // what is heard of a site outlives this server by that
	rivalFor   = time.Hour        // two that take turns are said to be two for as long after the last turn
	maxSkew    = time.Minute
)

// hear remembers what a site says of itself, and returns what is wrong with it. r.mu is held.
func (r *Registry) hear(ctx context.Context, site, address, user string, q *uplink.PollRequest) (problem string,
	err error) {
	if len(r.contacts) == 0 {
		if err := r.recall(ctx); err != nil {
			return "", err
		}
	}
	now := r.now().UTC()
	c := r.contacts[site]
	if c == nil {
		c = &Contact{Name: site}
		r.contacts[site] = c
	}
	instance := plain.Line(q.Instance, uplink.MaxInstance)
	switch last := (Other{c.Instance, c.Address, c.At}); {
	case c.Instance == "" || c.Instance == instance:
	case c.before.Instance == instance: // it was here before the last one, and the last one was another
		if c.Other == nil {
			r.log.Error("two sites go by one name: give one of them another, or end it", "site", site,
				"one", address, "other", last.Address)
		}
		c.Other, c.before = &last, last
	default:
		r.log.Info("a site was set up again, or is another one by the same name", "site", site, "address", address,
			"before", last.Address, "heard", last.At)
		c.before = last
	}
	if c.Other != nil && now.Sub(c.Other.At) > rivalFor {
		c.Other = nil
	}
	first := now.Sub(c.saved) >= savedEvery || c.Instance != instance
	c.At, c.Address, c.User, c.Instance, c.Status = now, address, user, instance, tidied(q.Status)
	if c.Skew = q.Status.Now.Sub(now); c.Skew.Abs() < maxSkew {
		c.Skew = 0
	}
	if first {
		b, err := json.Marshal(c)
		if err == nil {
			err = r.inventory.Heard(ctx, inventory.Site{Name: site, At: now, Body: b})
		}
		if err != nil {
			return "", err
		}
		c.saved = now
	}
	return c.Problem(), nil
}

// Problem is what is wrong with a site, besides what it says itself; empty: nothing.
func (c *Contact) Problem() string {
	var list []string
	if c.Other != nil {
		list = append(list, fmt.Sprintf("another server at %s goes by the name of site %s: give it another name, or "+
			"end it", c.Other.Address, c.Name))
	}
	if c.Skew != 0 {
		list = append(list, fmt.Sprintf("the clock of site %s is wrong by %s", c.Name, c.Skew.Round(time.Second)))
	}
	return strings.Join(list, "; ")
}

// recall reads what this server or another one heard before. r.mu is held.
func (r *Registry) recall(ctx context.Context) error {
	rows, err := r.inventory.Sites(ctx)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var c Contact
		if json.Unmarshal(row.Body, &c) != nil {
			continue // of a later program: it is written anew at the next poll
		}
		if known := r.contacts[row.Name]; known != nil && !known.At.Before(c.At) {
			continue
		}
		c.Name = row.Name
		if known := r.contacts[row.Name]; known != nil {
			c.before = known.before
		}
		r.contacts[row.Name] = &c
	}
	return nil
}

// Contacts are all sites that were ever heard of, by name, also by other servers of the same inventory, whose news is
// known within half a minute.
func (r *Registry) Contacts(ctx context.Context) ([]Contact, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.recall(ctx); err != nil {
		return nil, err
	}
	list := make([]Contact, 0, len(r.contacts))
	for _, c := range r.contacts {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Contact) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// tidied is what a site says, bounded and cleaned.
func tidied(s uplink.Status) uplink.Status {
	s.Program, s.Problem = plain.Line(s.Program, 64), plain.Lines(s.Problem, uplink.MaxProblem)
	s.Hosts, s.Cache.Objects, s.Spool.Reports = max(s.Hosts, 0), max(s.Cache.Objects, 0), max(s.Spool.Reports, 0)
	for _, n := range []*int64{&s.Timestamp, &s.Root, &s.Cache.Bytes, &s.Cache.Limit, &s.Cache.Hits, &s.Cache.Misses,
		&s.Spool.Superseded} {
		*n = max(*n, 0)
	}
	if !plausible(s.Speaks) {
		s.Speaks = schema.Versions{}
	}
	return s
}

func plausible(v schema.Versions) bool { return v.Min >= 1 && v.Max >= v.Min && v.Max < 1<<16 }
