// Package handover takes a host to another fleet, by what a package of its own fleet says (schema.Handover): signed by
// as many keys as any package, given by signed metadata, installed like any other. It is the second of two steps.
//
// The server of the other fleet has the host's registration (bakehouse inventory export and import), so that nobody has
// to come with a password. Nothing changes on the host before that server has answered under the host's secret, its
// root is the one that the package names, its metadata verify and have a package for the host, and that package is
// signed by the keys that are named. Until then, and whatever goes wrong, the host stays with its own fleet; from then
// on what that publishes is nothing to it.
package handover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/trust/statement"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Host is the host that is to be handed over, whose package says so.
type Host struct {
	*state.Host
	Platform schema.Platform
	Now      func() time.Time
	Dial     func(state.Way) (*wire.Client, error) // with the host's credentials
	Report   func(server string) schema.Report
	Stored   func(name string) string // the path of a name in the state directory
}

// Follow makes the host one of the other fleet, or says why not yet.
func (h Host) Follow(ctx context.Context) error {
	to := h.Config.Handover
	way := state.Way{Server: strings.TrimSuffix(to.Server, "/"), Proxy: h.Proxy(), Certificates: to.Certificates}
	c, err := h.Dial(way)
	if err != nil {
		return err
	}
	defer c.Close()
	root, err := wire.Source{Client: c, NewestRoot: 1}.Metadata(ctx, "1.root.json", schema.MaxRoot)
	if err != nil {
		return fmt.Errorf("the first root of fleet %s: %w", to.Fleet, hinted(err))
	}
	if got := schema.DigestOf(root); got != to.Root {
		return fault.Refuse(fmt.Errorf("the first root at %s has the SHA-256 %s, and not the one of the handover, %s",
			way.Server, got.Hex(), to.Root.Hex()), "another fleet is served there: correct the rule, or the server")
	}
	tc, err := trust.Open(h.Stored(state.TrustDir(to.Root)), root, h.Now)
	if err != nil {
		return err
	}
	holds := tc.Holds(h.Registration.Host)
	holds.Timestamp = 0 // so that "nothing new" is no answer
	answer, err := c.Poll(ctx, schema.PollRequest{MetadataVersions: holds, Report: h.Report(way.Server)})
	if err != nil {
		return hinted(err)
	}
	if answer == nil {
		return fmt.Errorf("%s is no server of a fleet", way.Server)
	}
	src := wire.Source{Client: c, NewestRoot: answer.Root, Files: answer.Files}
	if err := tc.Refresh(ctx, src, nil); err != nil {
		return err
	}
	p := tc.Policy()
	if p.Fleet != to.Fleet {
		return fault.Refuse(fmt.Errorf("%s serves fleet %s, not %s", way.Server, p.Fleet, to.Fleet),
			"correct the rule, or the server")
	}
	a, err := tc.Assignment(ctx, src, h.Registration.Host)
	if errors.Is(err, trust.ErrNoTarget) {
		return fault.Hint(fmt.Errorf("fleet %s has no package for host %s", to.Fleet, h.Registration.Host),
			"add it there under the same name, and publish")
	}
	if err != nil {
		return err
	}
	if err := h.vouched(ctx, c, a); err != nil {
		return err
	}
	return h.Join(root, way, a.Site, p, h.Now())
}

// hinted is err with what to do where the server does not know the host.
func hinted(err error) error {
	if !errors.Is(err, wire.ErrDenied) {
		return err
	}
	return fault.Hint(err, "bring this host's registration there: bakehouse inventory export and import")
}

// vouched checks that the package that the other fleet gives the host is one that it could install.
func (h Host) vouched(ctx context.Context, c *wire.Client, a *schema.Assignment) error {
	to := h.Config.Handover
	got, err := c.Package(ctx, a.Manifest, nil)
	if err != nil {
		return err
	}
	m, err := schema.DecodeManifest(got.Manifest, a.Manifest)
	if err != nil {
		return fault.Refuse(err, "the server, or something on the network, altered the manifest")
	}
	if m.SHA256 != a.SHA256 || m.Platform != h.Platform {
		return fmt.Errorf("the package of fleet %s for this host is for %s, and this host is %s", to.Fleet, m.Platform,
			h.Platform)
	}
	s := schema.StatementFor(m, a.Manifest)
	envelopes := make([][]byte, len(got.Statements))
	for i, e := range got.Statements {
		envelopes[i] = s.Restore(e)
	}
	_, err = statement.Judge(envelopes, s, to.Keys, to.Threshold)
	return err
}
