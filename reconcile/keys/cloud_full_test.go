//go:build kms

package keys

import (
	"slices"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"bakehouse/schema/fleet"
)

func TestAFullBuildKnowsTheKeyServicesAndLooksForNoProgram(t *testing.T) {
	known := kms.SupportedProviders()
	slices.Sort(known)
	var want []string
	for _, scheme := range cloudSchemes {
		want = append(want, scheme+"://")
	}
	if !slices.Equal(known, want) {
		t.Errorf("sigstore knows %q, want %q", known, want)
	}
	ring := Open(&fleet.Fleet{}, t.TempDir(), nil)
	for _, scheme := range cloudSchemes {
		if err := ring.services.reach(scheme); err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	if err := ring.services.reach("other"); err == nil {
		t.Error("a scheme of nobody's is looked for")
	}
}
