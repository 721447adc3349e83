package trust

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// content reads a top-level target, which the targets role names by length and hash.
func (c *Client) content(ctx context.Context, src Source, set *trustedmetadata.TrustedMetadata, target string) ([]byte, error) {
	want, length, err := targetDigest(set.Targets[metadata.TARGETS], target)
	if err != nil {
		return nil, err
	}
	if length > schema.MaxTarget {
		return nil, refuse("target %s: %d bytes, more than %d", target, length, int64(schema.MaxTarget))
	}
	if target == schema.PolicyTarget {
		if b := c.dir.Read(want.Hex()+policySuffix, length); schema.DigestOf(b) == want {
			return b, nil
		}
	}
	if src == nil {
		return nil, unreachable("target "+target, fs.ErrNotExist)
	}
	if target == schema.PolicyTarget {
		version, held := c.heldPolicy()
		if b := offered(src, want.Hex()+policySuffix, version, held, length); b != nil && schema.DigestOf(b) == want {
			return b, c.dir.Write(want.Hex()+policySuffix, b)
		}
	}
	b, err := src.Target(ctx, target, want, length)
	if err != nil {
		return nil, unreachable("target "+target, err)
	}
	if got := schema.DigestOf(b); got != want || int64(len(b)) != length {
		return nil, fault.Refuse(&schema.AlteredError{Object: "target " + target, Want: want, Got: got},
			"the server, or something on the network, altered the target; it was discarded")
	}
	if target == schema.PolicyTarget {
		return b, c.dir.Write(want.Hex()+policySuffix, b)
	}
	return b, nil
}

// heldPolicy is the file of the newest verified policy, and the version of the targets that name it.
func (c *Client) heldPolicy() (targets int64, file []byte) {
	v := c.cur.Load()
	if v == nil {
		return 0, nil
	}
	d, length, err := targetDigest(v.targets, schema.PolicyTarget)
	if err != nil {
		return 0, nil
	}
	return v.targets.Signed.Version, c.dir.Read(d.Hex()+policySuffix, length)
}

// targetDigest reads what md says of a target.
func targetDigest(md *metadata.Metadata[metadata.TargetsType], target string) (schema.Digest, int64, error) {
	f := md.Signed.Targets[target]
	if f == nil {
		return schema.Digest{}, 0, fmt.Errorf("target %s: %w", target, ErrNoTarget)
	}
	return onlyDigest(f, target)
}

// onlyDigest is a fleet's way to name a target's bytes: one with two hashes could be fetched and checked under either.
func onlyDigest(f *metadata.TargetFiles, target string) (d schema.Digest, length int64, err error) {
	h := f.Hashes["sha256"]
	if len(f.Hashes) != 1 || len(h) != len(d) || f.Length < 0 {
		return d, 0, refuse("target %s: not exactly a length and a sha256", target)
	}
	copy(d[:], h)
	return d, f.Length, nil
}
