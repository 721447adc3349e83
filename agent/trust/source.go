package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

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

// Opener is what StoreSource reads a store by.
type Opener interface {
	Open(ctx context.Context, key string) (io.ReadCloser, error)
}

// StoreSource reads from a store. head returns the version of the newest timestamp, 0 if there is none.
func StoreSource(st Opener, head func(context.Context) (int64, error)) Source {
	return storeSource{st, head}
}

type storeSource struct {
	st   Opener
	head func(context.Context) (int64, error)
}

func (s storeSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	key := schema.MetadataDir + name
	if name == timestampFile {
		v, err := s.head(ctx)
		if err != nil {
			return nil, err
		}
		if v == 0 {
			return nil, fmt.Errorf("the store has no release: %w", fs.ErrNotExist)
		}
		key = schema.TimestampKey(v)
	}
	return s.read(ctx, key, limit)
}

func (s storeSource) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	return s.read(ctx, schema.TargetKey(d), limit)
}

func (s storeSource) Tree(ctx context.Context, root schema.Digest, limit int64) ([]byte, error) {
	return s.read(ctx, schema.TreeKey(root), limit)
}

func (s storeSource) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	if err := schema.CheckKey(key); err != nil {
		return nil, err
	}
	r, err := s.st.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", key, limit)
	}
	return b, nil
}
