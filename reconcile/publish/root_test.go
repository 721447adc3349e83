package publish

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/quorum"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// resign gives the n-th root a signature of the key more, as a merge of a late branch does.
func (f *testFleet) resign(n int, name string) {
	f.t.Helper()
	md, err := trust.ReadRoot(f.Roots[n-1])
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := md.Sign(f.signers[name].Metadata)
	if err != nil {
		f.t.Fatal(err)
	}
	md.Signatures = slices.DeleteFunc(md.Signatures, func(o metadata.Signature) bool { return o.KeyID == s.KeyID })
	md.Signatures = append(md.Signatures, *s)
	if f.Roots[n-1], err = md.ToBytes(true); err != nil {
		f.t.Fatal(err)
	}
}

func TestALateSignatureOnAPublishedRootIsNoOtherRootButNoAnchor(t *testing.T) {
	f, st := newFleet(t), openStore(t)
	f.addKey("spare", "root")
	f.keys = f.ring()
	f.nextRoot()
	f.mustPublish(st, next(start, want("web01", "a")))
	was := f.Roots[1]
	late := "spare"
	md, err := trust.ReadRoot(was)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := keys.ID(f.Keys[late]); err != nil || slices.Contains(quorum.OfRoot(md, metadata.ROOT).Signers(md), id) {
		late = "root"
	}
	f.resign(2, late)
	if bytes.Equal(was, f.Roots[1]) {
		t.Fatal("nothing was added")
	}
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "b")))
	f.host(st, "", start.Add(time.Hour)).mustGet(t, "web01", "b")

	f.AnchorVersion = 2
	if _, err := Read(t.Context(), st, f.Fleet, start); err == nil || fault.IsRefusal(err) ||
		!strings.Contains(fault.HintOf(err), "metadata/2.root.json") {
		t.Errorf("as anchor: %v", err)
	}
	f.Roots[1] = was
	if _, err := Read(t.Context(), st, f.Fleet, start); err != nil {
		t.Errorf("with the bytes that were published: %v", err)
	}
}

func TestARootOfTheStoreIsNotBelievedForLookingLikeOurs(t *testing.T) {
	f := newFleet(t)
	st, dir := altered(t)
	f.mustPublish(st, next(start, want("web01", "a")))
	md, err := trust.ReadRoot(f.Roots[0])
	if err != nil {
		t.Fatal(err)
	}
	md.Signatures[0].Signature[3] ^= 1 // the same root, signed by nobody
	b, err := md.ToBytes(true)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir+"/"+schema.MetadataKey("root", 1), func([]byte) []byte { return b })
	if _, err := Read(t.Context(), st, f.Fleet, start); !fault.IsRefusal(err) {
		t.Errorf("got %v", err)
	}
}

func TestARootThatMovesHostsToOtherBinsOrAnotherFleetIsRefused(t *testing.T) {
	for name, field := range map[string]trust.RootInfo{
		"bins":  {Fleet: "acme", Bins: 2 * testBins},
		"fleet": {Fleet: "other", Bins: testBins},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			md, err := roots.New(f.Fleet, 2, testBins, start)
			if err != nil {
				t.Fatal(err)
			}
			md.Signed.UnrecognizedFields[trust.RootField] = field
			b, err := keys.SignRole(f.keys, md, md.Signed.Roles[metadata.ROOT])
			if err != nil {
				t.Fatal(err)
			}
			f.Roots = append(f.Roots, b)
			if _, err := Read(t.Context(), openStore(t), f.Fleet, start); !fault.IsRefusal(err) ||
				!strings.Contains(err.Error(), "neither can change") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTwoOfThreeKeysSignTheBinsAndOneIsTooFewBeforeAnyWork(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.addKey("more", "targets", "snapshot")
	f.addKey("most", "targets")
	f.Thresholds = map[string]int{"targets": 2, "snapshot": 2}
	f.keys = f.ring()
	f.nextRoot()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.host(st, "", start).mustGet(t, "web01", "a")
	bin, err := metadata.Targets().FromBytes(st[schema.MetadataKey("bin-0", 1)])
	if err != nil || len(bin.Signatures) != 2 {
		t.Errorf("a bin has %d signatures, %v", len(bin.Signatures), err)
	}

	for _, key := range []string{"more", "most"} {
		if err := os.Remove(filepath.Join(f.dir, keys.FileName(key))); err != nil {
			t.Fatal(err)
		}
	}
	was := len(st)
	if _, err := f.publish(st, next(start, want("web01", "b"))); err == nil ||
		!strings.Contains(err.Error(), "2 keys have to sign targets, and only targets can here") {
		t.Errorf("with one of two keys: %v", err)
	}
	if len(st) != was {
		t.Errorf("%d objects were written", len(st)-was)
	}
	// what needs no more than the keys that are here goes on
	sum := f.mustPublish(st, next(start.Add(10*day), want("web01", "a")))
	if !slices.Equal(sum.Roles, []string{"timestamp"}) {
		t.Errorf("signed %q", sum.Roles)
	}
}
