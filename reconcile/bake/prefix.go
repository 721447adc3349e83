package bake

import (
	"context"
	"crypto/sha256"
	"encoding"
	"fmt"
	"io"
	"sync"

	"bakehouse/schema"
)

// prefixes remembers the SHA-256 of what streams begin with, up to the end of their last segment, as the state that the
// hash has then: further packages of the same segments hash their literal end only. It is safe for concurrent use.
type prefixes struct {
	mu     sync.Mutex
	states map[schema.Digest][]byte // by the parts
}

// digest is the SHA-256 of a whole stream.
func (p *prefixes) digest(ctx context.Context, parts []part) (schema.Digest, error) {
	n := len(parts)
	for n > 0 && parts[n-1].segment == nil {
		n--
	}
	name := sha256.New()
	for _, part := range parts[:n] {
		if part.segment != nil {
			fmt.Fprintf(name, "segment %s\n", part.segment.ref.Digest)
		} else {
			fmt.Fprintf(name, "literal %q\n", part.data)
		}
	}
	key := schema.Digest(name.Sum(nil))
	p.mu.Lock()
	state := p.states[key]
	p.mu.Unlock()

	h := sha256.New()
	if state != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return schema.Digest{}, err
		}
	} else {
		if err := writeParts(ctx, h, parts[:n]); err != nil {
			return schema.Digest{}, err
		}
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return schema.Digest{}, err
		}
		p.mu.Lock()
		if p.states == nil {
			p.states = map[schema.Digest][]byte{}
		}
		p.states[key] = state
		p.mu.Unlock()
	}
	err := writeParts(ctx, h, parts[n:])
	return schema.Digest(h.Sum(nil)), err
}

// writeParts writes what parts stand for, from verified bytes only.
func writeParts(ctx context.Context, w io.Writer, parts []part) error {
	for _, p := range parts {
		if p.segment != nil {
			if err := p.segment.bytes.CopyTo(ctx, w); err != nil {
				return err
			}
		} else if _, err := w.Write(p.data); err != nil {
			return err
		}
	}
	return nil
}
