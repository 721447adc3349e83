package agent

import (
	"runtime"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// What schema.Policy.Decide says, as a host does it; that which holds a host back is in update_test.go and hold_test.go.

func TestAHostInALateRingTakesTheOlderCandidateMeanwhile(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Policy.Rings[0].Delay = schema.Duration(3 * day)
	f.Give("web01", version(f, "one"))
	f.Pass(4 * day)
	f.Give("web01", version(f, "two"))
	if r := h.update(); r.Code != outcome.CodeInstalled || r.Package.Release != 1 {
		t.Errorf("%s", r)
	}
	h.runs("one")
	if r := h.update(); r.State != schema.StateHeld || r.Code != schema.CodeWaiting {
		t.Errorf("%s", r)
	}
	f.Pass(3 * day)
	h.update()
	h.runs("two")
}

func TestARevokedPackageGivesWayToTheOneBefore(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	h.update()
	f.Policy.Revoked = []schema.Digest{p.Manifest.SHA256}
	f.Publish()
	if r := h.update(); r.Code != outcome.CodeInstalled || r.Package.Release != 1 {
		t.Errorf("%s", r)
	}
	h.runs("one")
	if r := h.update(); r.State != schema.StateCurrent {
		t.Errorf("afterwards: %s", r)
	}
	f.Give("web01", version(f, "three"))
	h.update()
	h.runs("three")
}

func TestARevokedPackageIsNotInstalled(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.Revoked = []schema.Digest{p.Manifest.SHA256}
	f.Give("web01", p)
	if r := h.update(); r.State != schema.StateCurrent || r.Package.Release != 1 {
		t.Errorf("%s", r)
	}
	h.runs("one")
	f.Policy.Revoked = nil
	f.Publish()
	h.update()
	h.runs("two")
}

func TestAnOlderCandidateIsNoWayBack(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Pass(4 * day)
	f.Give("web01", p)
	h.update()
	f.Policy.Rings[0].Delay = schema.Duration(3 * day) // which release 1 is past, and 2 is not
	f.Publish()
	if r := h.update(); r.State != schema.StateCurrent || r.Package.Release != 2 {
		t.Errorf("%s", r)
	}
	h.runs("two")
}

func TestADowngradeIsANewReleaseOfAnOldPackage(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	first := version(f, "one")
	f.Give("web01", p)
	h.update()
	f.Pass(time.Hour)
	f.Give("web01", first)
	if r := h.update(); r.Code != outcome.CodeInstalled || r.Package.Release != 3 {
		t.Errorf("%s", r)
	}
	h.runs("one")
}

func TestARefusalListsEachSignatureAlsoWhereSomeCount(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	second, third := trusttest.NewKey(), trusttest.NewKey()
	h := registered(t, f, "web01")
	one := spec("one")
	one.Config = false
	one.Own[schema.ConfigFile(runtime.GOOS)] = string(f.Config(func(c *schema.AgentConfig) {
		c.Keys = append(c.Keys, schema.AcceptedKey{Name: "second", Public: second.PEM()})
		c.Threshold = 2
	}))
	one.Own[schema.AnchorFile(runtime.GOOS)] = string(f.Anchor)
	f.Give("web01", f.Pack(one))
	h.update()
	p := version(f, "two")
	p.Signers = []trusttest.Key{third, f.Package, f.Package}
	f.Give("web01", p)
	h.refused("signature by key id \"" + third.ID()[:16] + "\" ignored: its key is not accepted by this host\n" +
		"signature by key release accepted\n" +
		"signature by key release ignored: this key has signed already\n" +
		"1 valid of 2 required signatures (by release)")
	h.runs("one")
}
