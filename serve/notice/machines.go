// Package notice is what a server tells its log of hosts that poll, once each: that two machines use one registration,
// and that the fleet has a host's name no longer. Nothing is refused for it.
package notice

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"bakehouse/serve/inventory"
)

// Machines knows which machine reported last as each host: the inventory is asked only when that changes.
type Machines struct {
	log       *slog.Logger
	inventory Meeter

	mu   sync.Mutex
	last map[string]string
	told map[string]time.Time // that two take turns
}

// turns is how often two machines that take turns are told of.
const turns = time.Hour

// Meeter remembers machines.
type Meeter interface {
	// Meet returns the machines that reported as the host before, the last one first.
	Meet(ctx context.Context, host string, m inventory.Machine) (before []inventory.Machine, err error)
}

// NewMachines asks i for what was before this server started.
func NewMachines(log *slog.Logger, i Meeter) *Machines {
	return &Machines{log: log, inventory: i, last: map[string]string{}, told: map[string]time.Time{}}
}

// Note says so if a machine reports with a registration that another one used before. Nothing is refused to
// either: a host that moved, or was restored from a backup, looks the same as its copy until the other one reports.
func (k *Machines) Note(ctx context.Context, host, machine, address string) {
	if machine == "" {
		return
	}
	k.mu.Lock()
	same := k.last[host] == machine
	k.last[host] = machine
	k.mu.Unlock()
	if same {
		return
	}
	now := time.Now()
	before, err := k.inventory.Meet(ctx, host, inventory.Machine{ID: machine, Last: now, Address: address})
	if err != nil {
		k.log.Error("inventory", "error", err)
		return
	}
	if len(before) == 0 || before[0].ID == machine {
		return
	}
	const hint = "if one is a copy of the other, register it under its own name: bakehouse-agent register --force " +
		"--host NAME; if the host moved, register it again where it is now"
	about := []any{"host", host, "machine", machine, "address", address, "before", before[0].ID, "from",
		before[0].Address, "at", before[0].Last, "hint", hint}
	for _, b := range before {
		if b.ID != machine {
			continue
		}
		k.mu.Lock()
		silent := now.Sub(k.told[host]) < turns
		if !silent {
			k.told[host] = now
		}
		k.mu.Unlock()
		if !silent {
			k.log.Warn("two machines use one registration by turns: one is a copy of the other", about...)
		}
		return
	}
	k.log.Warn("another machine uses a host's registration: the host was copied, or it moved", about...)
}
