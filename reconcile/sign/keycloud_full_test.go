//go:build kms

package sign

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature/kms"

	"bakehouse/schema/fleet"
)

func TestAFullBuildKnowsTheKeyServicesOfTheCloudsAndLooksForNoProgram(t *testing.T) {
	known := kms.SupportedProviders()
	slices.Sort(known)
	var want []string
	for _, scheme := range cloudSchemes {
		want = append(want, scheme+"://")
	}
	if !slices.Equal(known, want) {
		t.Errorf("sigstore knows %q, want %q", known, want)
	}
	// A URI that is none of the service's own is refused by it, which shows that it was asked.
	ring := OpenKeys(&fleet.Fleet{}, t.TempDir(), nil)
	for _, scheme := range cloudSchemes {
		if _, err := ring.service(t.Context(), scheme+"://not/a key"); err == nil || strings.Contains(err.Error(), "full build") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
