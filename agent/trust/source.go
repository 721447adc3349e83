package trust

import (
	"context"

	"bakehouse/schema"
)

// Source hands out untrusted bytes: a server over HTTPS or the local store. An absent file is fs.ErrNotExist; nothing
// longer than limit bytes may be returned. Client.All asks for several files at a time.
type Source interface {
	MetadataSource
	// Target reads a top-level target's content (policy, release, access) by its digest.
	Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error)
	// Tree reads the lines of a snapshot's tree by its root. Only those who read all bins ask for it.
	Tree(ctx context.Context, root schema.Digest, limit int64) ([]byte, error)
}

// MetadataSource is as much of a Source as the walk needs. What is in the way of a role's name is quoted: "1.a%2Fb.json".
type MetadataSource interface {
	// Metadata reads "2.root.json", "7.snapshot.json", "7.targets.json", "3.bin-0a.json", or the newest "timestamp.json".
	Metadata(ctx context.Context, name string, limit int64) ([]byte, error)
}

// DeltaSource is a Source that can fetch a role's file as the difference to the version that is held. If that fails, or
// what comes of it does not verify, Metadata is asked for the whole file before anything counts against the source.
type DeltaSource interface {
	Source
	MetadataAgainst(ctx context.Context, name string, heldVersion int64, held []byte, limit int64) ([]byte, error)
}

// OfferSource is a Source that has some files at hand without asking for them, such as those that came with a poll's
// answer. Offered files are tried first and once: if one does not verify, the source is asked, as if it had none.
type OfferSource interface {
	Source
	// Offered returns the file of that name ("HEX.policy" for the policy), whole, or nil. It may be made of the file
	// held, whose version is given: the role's, the root before, or for the policy that of the targets which name it.
	Offered(name string, heldVersion int64, held []byte, limit int64) []byte
}

// offered is what src has at hand of a file, nil if it has nothing or is no OfferSource.
func offered(src MetadataSource, name string, heldVersion int64, held []byte, limit int64) []byte {
	if o, ok := src.(OfferSource); ok {
		return o.Offered(name, heldVersion, held, limit)
	}
	return nil
}
