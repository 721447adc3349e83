package reconcile

import (
	"strings"
	"testing"

	"bakehouse/reconcile/plan"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

func TestADamagedListOfFilesIsNamedWithTheWayOn(t *testing.T) {
	st, err := stores.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	of := schema.DigestOf([]byte("a manifest"))
	if err := store.CreateBytes(t.Context(), st, schema.ContentsKey(of), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	_, err = filesOf(t.Context(), st, of, map[schema.Digest]plan.Paths{})
	if err == nil || !strings.Contains(err.Error(), schema.ContentsKey(of)+" in the store is damaged") ||
		!strings.Contains(fault.HintOf(err), "delete it") || !fault.IsRefusal(err) {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}
