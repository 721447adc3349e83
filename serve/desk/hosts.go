package desk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
)

func noSuch(err error, what, hint string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Hint(&marked{fmt.Errorf("no %s", what), fs.ErrNotExist}, "%s", hint)
	}
	return err
}

// Revoke ends a host's registration: its secret counts no longer, and it can be registered again by whoever may.
// What is installed on the host stays and runs on.
func (d *Desk) Revoke(ctx context.Context, who audit.Actor, host string) error {
	if err := d.mayRevoke(who, host); err != nil {
		return err
	}
	h, err := d.Inventory.Host(ctx, host)
	if err == nil && h.End.How != "" {
		return fault.Hint(invalid(fmt.Errorf("the registration of host %s ended already: %s by %s at %s", host,
			h.End.How, h.End.By, h.End.At.Format(time.RFC3339))),
			"bakehouse host forget %s drops what is known of it", host)
	}
	now := d.Now()
	if err == nil {
		err = d.Inventory.End(ctx, host, inventory.End{How: inventory.Revoked, By: who.Name, At: now})
	}
	if err != nil {
		return noSuch(err, "registration of host "+host, "bakehouse host list lists the hosts that are registered")
	}
	e := event(who, audit.Revoked, now)
	e.Host = host
	d.Audit.Record(ctx, e)
	return nil
}

// Forget drops all that is known of a host, its registration too.
func (d *Desk) Forget(ctx context.Context, who audit.Actor, host string) error {
	if err := d.mayRevoke(who, host); err != nil {
		return err
	}
	if err := d.Inventory.Forget(ctx, host); err != nil {
		return noSuch(err, "registration of host "+host, "bakehouse host list lists the hosts that are registered")
	}
	e := event(who, audit.Forgotten, d.Now())
	e.Host = host
	d.Audit.Record(ctx, e)
	return nil
}

func (d *Desk) mayRevoke(who audit.Actor, host string) error {
	if err := schema.CheckHostName(host); err != nil {
		return invalid(err)
	}
	if !who.May(schema.PermRevoke, host) {
		return denied(who, schema.PermRevoke, host)
	}
	return nil
}

// Events is a part of the audit log.
type Events struct {
	Events []inventory.Event `json:"events"`
}

// MaxEvents is how many events are answered at a time.
const MaxEvents = 10_000

// Events are those since a time, at most the last MaxEvents. Of hosts that who may not audit there are none.
func (d *Desk) Events(ctx context.Context, who audit.Actor, since time.Time) (*Events, error) {
	if !who.Has(schema.PermAudit) {
		return nil, denied(who, schema.PermAudit, "")
	}
	list, err := d.Audit.Events(ctx, since, MaxEvents)
	if err != nil {
		return nil, err
	}
	seen := []inventory.Event{}
	for _, e := range list {
		if e.Host == "" || who.May(schema.PermAudit, e.Host) {
			seen = append(seen, e)
		}
	}
	return &Events{seen}, nil
}
