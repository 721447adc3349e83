//go:build kms

package keys

import (
	"context"
	"crypto"

	"github.com/sigstore/sigstore/pkg/signature/kms"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	_ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
)

const FullBuild = true

// openCloud opens a key of one of cloudSchemes. Any other would make kms.Get look for a program.
func openCloud(ctx context.Context, uri string) (keyService, error) {
	return kms.Get(ctx, uri, crypto.SHA256)
}
