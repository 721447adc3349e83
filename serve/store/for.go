package store

import "context"

type hostKey struct{}

// For says for which host what is read with ctx is read: a store that asks another server for what it lacks has to say
// so there. An empty host is a release, which is read for all of them. What is read with neither is only looked for
// where it is at hand. Other stores pass over it.
func For(ctx context.Context, host string) context.Context {
	return context.WithValue(ctx, hostKey{}, host)
}

// Host is what For said; ok is false if it said nothing.
func Host(ctx context.Context) (host string, ok bool) {
	host, ok = ctx.Value(hostKey{}).(string)
	return host, ok
}
