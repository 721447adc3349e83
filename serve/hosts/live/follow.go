package live

import (
	"context"
	"time"

	"bakehouse/serve/inventory"
)

// followEvery is how often a server asks what others that share its database wrote of hosts: what one of them is told,
// all show within a second.
const followEvery = 500 * time.Millisecond

// Follow asks what other servers wrote, until ctx ends.
func (l *Live) Follow(ctx context.Context) {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !l.Loaded() {
			continue
		}
		err := l.CatchUp(ctx)
		if err != nil && !failed && ctx.Err() == nil { // once: each poll has its own to say
			l.log.Error("inventory: what other servers wrote is not known", "error", err)
		}
		failed = err != nil
	}
}

// CatchUp brings the table up to what is in the database. One caller at a time.
func (l *Live) CatchUp(ctx context.Context) error {
	c, err := l.Changes(ctx, l.number)
	if err != nil {
		return err
	}
	if c.Behind {
		for h, err := range l.All(ctx) {
			if err != nil {
				return err
			}
			l.learn(&h)
		}
		l.number = c.Number
		return nil
	}
	for _, h := range c.Hosts {
		l.learn(&h)
	}
	for _, host := range c.Gone {
		l.Table.Forget(host, false)
	}
	for host, at := range c.Polled {
		l.Table.Saw(host, at)
	}
	l.number = c.Number
	return nil
}

func (l *Live) learn(h *inventory.Host) {
	if h.End.How != "" {
		l.Table.Forget(h.Host, h.End.How == Retired)
		return
	}
	l.Table.Learn(h.Host, registration(h), h.Seen.At, &h.Seen.Report)
}
