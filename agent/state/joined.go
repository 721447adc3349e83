package state

import (
	"time"

	"bakehouse/schema"
)

// TrustDir is the name of the directory, in that of the state, with what was verified of a fleet; zero: of the one that
// the host was registered with.
func TrustDir(root schema.Digest) string {
	if root.IsZero() {
		return "trust"
	}
	return "trust-" + root.Hex()[:16]
}

// TrustDir is that of the host's fleet.
func (h *Host) TrustDir() string {
	if h.Joined == nil {
		return TrustDir(schema.Digest{})
	}
	return TrustDir(h.Joined.Root)
}

// Join makes the host one of the fleet that takes it over: root is that fleet's first, by w its server was reached, its
// policy gives the host that site. The registration stays, and what is installed, which has no release of the fleet.
// What the fleet before had of releases does not count there.
func (h *Host) Join(root []byte, w Way, site string, p *schema.Policy, now time.Time) error {
	to, before := h.Config.Handover, *h.Record
	registration := *h.Registration
	registration.Server, registration.Certificates, registration.Site = w.Server, nil, site
	r := before
	r.Registration, r.Worked, r.Reported, r.Site = &registration, &w, nil, nil
	r.Bootstrap = &Bootstrap{Anchor: root, Keys: to.Keys}
	r.Hold, r.HoldCode, r.Asked, r.Gone, r.Ignored = "", "", 0, time.Time{}, nil
	r.Root, r.Timestamp, r.Snapshot, r.Bin = 0, 0, schema.Digest{}, schema.Digest{}
	r.Previous, r.Before, r.Failed, r.Waiting, r.Withheld = nil, nil, nil, nil, nil
	if i := r.Installed; i != nil {
		installed := *i
		installed.Release = 0
		r.Installed = &installed
	}
	r.Joined = &Joined{Fleet: to.Fleet, Root: to.Root, At: now.UTC().Truncate(time.Second)}
	h.Record = &r
	h.Learn(p)
	if err := h.Save(); err != nil {
		h.Record = &before
		return err
	}
	h.joined()
	return nil
}
