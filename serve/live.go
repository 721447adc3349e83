package serve

import (
	"context"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/desk"
	"bakehouse/serve/hosts/live"
	"bakehouse/serve/inventory"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/sites"
	"bakehouse/serve/view/build"
)

// Inventory is what a server remembers; *inventory.DB is one.
type Inventory interface {
	// Secret is fs.ErrNotExist if the host is not registered.
	Secret(ctx context.Context, host string) (schema.Digest, error)
	// Register is durable. It is inventory.ErrLive if the host polls and its registration is not to be replaced.
	Register(ctx context.Context, r inventory.Registration, c inventory.Claim, was ...string,
	) (before *inventory.Host, err error)
	// Rename moves a registration and what is known with it, unless the new name is registered already.
	Rename(ctx context.Context, was, now string) error
	// Report does not block.
	Report(host string, s inventory.Seen) error
	// Flush makes all that was reported durable.
	Flush(ctx context.Context) error
	Remember(ctx context.Context, host string, p inventory.Package, at time.Time) error
	Packages(ctx context.Context, host string) ([]inventory.Package, error)
	desk.Inventory
	live.Inventory
	build.Inventory
	keeper.Store
	sites.Inventory
	// Serve is durable.
	Serve(ctx context.Context, s inventory.Served) error
	Served(ctx context.Context, anchor schema.Digest) (inventory.Served, error)
	Ping(ctx context.Context) error
}

// followed is the inventory with the table of hosts before it.
type followed struct {
	Inventory
	live *live.Live
}

func (f followed) Register(ctx context.Context, r inventory.Registration, c inventory.Claim, was ...string) (
	*inventory.Host, error,
) {
	return f.live.Register(ctx, r, c, was...)
}
func (f followed) Rename(ctx context.Context, was, now string) error {
	return f.live.Rename(ctx, was, now)
}
func (f followed) Report(host string, s inventory.Seen) error { return f.live.Report(host, s) }
func (f followed) End(ctx context.Context, host string, e inventory.End) error {
	return f.live.End(ctx, host, e)
}
func (f followed) Forget(ctx context.Context, host string) error { return f.live.Forget(ctx, host) }
func (f followed) Meet(ctx context.Context, host string, m inventory.Machine) ([]inventory.Machine, error) {
	return f.live.Meet(ctx, host, m)
}
