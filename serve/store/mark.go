package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Mark is a timestamp that was once the newest, as whoever signed, verified or served it remembers it. The zero Mark
// remembers none.
type Mark struct {
	Version   int64  `json:"version"`
	Timestamp []byte `json:"timestamp"` // its file
}

// SetBackError says that a store's head does not follow from a mark: the store was set back, and perhaps published into
// since, under numbers that were taken.
type SetBackError struct {
	Mark Mark
	Head int64 // of the store, 0 if it has none
}

func (e *SetBackError) Error() string {
	if e.Head < e.Mark.Version {
		return fmt.Sprintf("the store's newest timestamp is %d, and there was %d before", e.Head, e.Mark.Version)
	}
	return fmt.Sprintf("the store's timestamp %d is not the one that there was before: the same number, other bytes",
		e.Mark.Version)
}

// Check refuses, with a *SetBackError, a store whose head does not follow from m. It does if it is m, or a later one: m
// is then in the store as it was, or too old to be, or what is there in its place was recovered from by a release above
// all numbers. roots are the fleet's, from one that is trusted on: as hosts do, m is forgotten once the newest drops
// the keys that signed it, and forgotten is true.
func (m Mark) Check(ctx context.Context, s Store, head int64, roots func() ([][]byte, error)) (forgotten bool,
	err error) {
	if m.Version == 0 {
		return false, nil
	}
	if head >= m.Version {
		b, err := Read(ctx, s, schema.TimestampKey(m.Version), schema.MaxTimestamp)
		switch {
		case errors.Is(err, fs.ErrNotExist) && head > m.Version:
			return false, nil
		case err != nil:
			return false, err
		case bytes.Equal(b, m.Timestamp):
			return false, nil
		}
		if recovered, err := recoveredSince(ctx, s, m.Version); recovered || err != nil {
			return false, err
		}
	}
	if chain, err := roots(); err == nil && m.dropped(chain) {
		return true, nil
	}
	return false, fault.Refuse(&SetBackError{m, head}, "if the store was restored from a backup, publish above all "+
		"numbers that were given: bakehouse reconcile recover --above %d; if it is another one by mistake, "+
		"check --store", max(m.Version, head))
}

// dropped reports whether the newest of these roots no longer trusts the keys that signed m.
func (m Mark) dropped(roots [][]byte) bool {
	root, err := trust.VerifyRoots(roots)
	if err != nil {
		return false
	}
	stamp, err := metadata.Timestamp().FromBytes(m.Timestamp)
	return err == nil && root.VerifyDelegate(metadata.TIMESTAMP, stamp) != nil
}

// recoveredSince reports whether the timestamps after that one have a gap, which only a recovery leaves.
func recoveredSince(ctx context.Context, s Store, version int64) (bool, error) {
	next := version
	for e, err := range s.List(ctx, schema.TimestampDir, schema.TimestampKey(version)) {
		if err != nil {
			return false, err
		}
		v, ok := schema.ParseTimestampKey(e.Key)
		if !ok || v < version {
			continue
		}
		if v > next+1 {
			return true, nil
		}
		next = v
	}
	return false, nil
}
