package bake

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"

	"bakehouse/reconcile/bake/held"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// codec names how a payload became a segment, in the key of the claim on it. Raised when the same payload makes another
// segment, so that a store never answers with what another version made.
const codec = "deflate1"

const maxClaim = 4 << 10

// segment is what packages share, compressed once: deflate blocks of a payload, ended by a sync flush. It is immutable.
type segment struct {
	ref  schema.SegmentRef
	crc  uint32 // of the payload
	tail []byte // the last window of the payload
	sums []fileSum
	// bytes is this process's private copy, already verified. The store is not read again: it could answer
	// differently the second time, and what is hashed here gets signed.
	bytes *held.Bytes
}

func (g *segment) reader() io.Reader { return g.bytes.Reader() }

// payload is what a segment inflates to. Its identity is over everything that it is made from; write makes it, every time
// the same bytes.
type payload struct {
	identity schema.Digest
	write    func(context.Context, io.Writer) ([]fileSum, error)
	plain    bool // it stands in packages as it is, not deflated: its segment is the payload itself
}

// payload is the entries of files.
func (as *archiver) payload(files []*file) payload {
	h := sha256.New()
	fmt.Fprintln(h, as.name)
	for _, f := range files {
		fmt.Fprintf(h, "%q %o %q %q %s\n", f.path, f.mode, f.owner, f.group, f.sum)
	}
	return payload{identity: schema.Digest(h.Sum(nil)),
		write: func(ctx context.Context, w io.Writer) ([]fileSum, error) { return as.write(ctx, w, files) }}
}

// textPayload is bytes at hand.
func textPayload(text []byte) payload {
	return payload{identity: schema.DigestOf(append([]byte("text\n"), text...)), write: func(_ context.Context, w io.Writer) ([]fileSum, error) {
		_, err := w.Write(text)
		return nil, err
	}}
}

// plainPayload is bytes that stand in packages as they are.
func plainPayload(b []byte) payload {
	p := textPayload(b)
	p.identity, p.plain = schema.DigestOf(append([]byte("plain\n"), b...)), true
	return p
}

// segments makes or finds segments, each once per process. It is safe for concurrent use.
type segments struct {
	store Store
	spare atomic.Int64 // memory for private copies that is not in use, in bytes
	mu    sync.Mutex
	made  map[schema.Digest]*slot // by what goes in
}

type slot struct {
	mu sync.Mutex
	g  *segment
}

func (s *segments) newPrivate() *held.Bytes { return held.New(&s.spare) }

// get returns the segment of a payload, and whether the store did not have it before.
func (s *segments) get(ctx context.Context, p payload) (g *segment, fresh bool, err error) {
	s.mu.Lock()
	sl := s.made[p.identity]
	if sl == nil {
		sl = &slot{}
		s.made[p.identity] = sl
	}
	s.mu.Unlock()
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.g != nil {
		return sl.g, false, nil
	}
	g, fresh, err = s.make(ctx, p)
	if err == nil {
		sl.g = g // a failure is tried again: it may have been a cancellation
	}
	return g, fresh, err
}

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, sl := range s.made {
		if sl.g != nil {
			errs = append(errs, sl.g.bytes.Close())
		}
	}
	s.made = map[schema.Digest]*slot{}
	return errors.Join(errs...)
}

func (s *segments) make(ctx context.Context, p payload) (*segment, bool, error) {
	g := &segment{}
	sum, check := sha256.New(), crc32.NewIEEE()
	var n counter
	var end lastWindow
	out := io.MultiWriter(sum, check, &n, &end)
	if p.plain {
		g.bytes = s.newPrivate()
		out = io.MultiWriter(out, g.bytes)
	}
	sums, err := p.write(ctx, out)
	if err != nil {
		if p.plain {
			err = errors.Join(err, g.bytes.Close())
		}
		return nil, false, err
	}
	g.sums, g.crc, g.tail = sums, check.Sum32(), slices.Clip(end)
	g.ref.Payload, g.ref.PayloadSize = schema.Digest(sum.Sum(nil)), int64(n)

	if p.plain {
		return s.keepPlain(ctx, g)
	}
	claim, err := s.claim(ctx, g.ref)
	if err != nil {
		return nil, false, err
	}
	if claim != nil {
		g.ref = *claim
		err := s.fetch(ctx, g)
		if !errors.Is(err, fs.ErrNotExist) {
			return g, false, err
		}
		// The claim outlived its segment: a clean-up was cut short. Making it again yields the same bytes or
		// is refused below.
	}
	if err := s.compress(ctx, g, p); err != nil {
		return nil, false, err
	}
	if err := s.publish(ctx, g); err != nil {
		return nil, false, errors.Join(err, g.bytes.Close())
	}
	return g, true, nil
}

// keepPlain stores the segment of a plain payload. It takes no claim to find it in the store: its digest is known.
func (s *segments) keepPlain(ctx context.Context, g *segment) (*segment, bool, error) {
	g.ref.Digest, g.ref.Size = g.ref.Payload, g.ref.PayloadSize
	fresh := true
	err := s.store.Create(ctx, schema.SegmentKey(g.ref.Digest), g.reader())
	if errors.Is(err, fs.ErrExist) {
		fresh, err = false, s.same(ctx, g.ref)
	}
	if err != nil {
		return nil, false, errors.Join(err, g.bytes.Close())
	}
	return g, fresh, nil
}

// claim reads which segment the store says holds a payload; nil if it knows none. What it says is only checked for form:
// the bytes decide.
func (s *segments) claim(ctx context.Context, want schema.SegmentRef) (*schema.SegmentRef, error) {
	key := schema.PayloadKey(want.Payload, codec)
	r, err := s.store.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxClaim))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var ref schema.SegmentRef
	if err := schema.Decode(b, &ref); err != nil {
		return nil, refuse(fmt.Errorf("%s in the store is not readable: %w", key, err))
	}
	if ref.Payload != want.Payload || ref.PayloadSize != want.PayloadSize || ref.Digest.IsZero() ||
		ref.Size < 1 || ref.Size > schema.MaxPackage {
		return nil, refuse(fmt.Errorf("%s in the store is altered: it speaks of payload %s of %d bytes", key, ref.Payload, ref.PayloadSize))
	}
	return &ref, nil
}

// fetch copies a stored segment and refuses it unless it is what g.ref says, down to the payload.
func (s *segments) fetch(ctx context.Context, g *segment) error {
	r, err := s.store.Open(ctx, schema.SegmentKey(g.ref.Digest))
	if err != nil {
		return err
	}
	defer r.Close()
	private := s.newPrivate()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(private, sum), io.LimitReader(contextReader{ctx, r}, g.ref.Size+1))
	if err == nil {
		if got := schema.Digest(sum.Sum(nil)); n != g.ref.Size || got != g.ref.Digest {
			err = altered(g.ref, &schema.AlteredError{Object: "segment", Want: g.ref.Digest, Got: got})
		} else {
			g.bytes = private
			err = inflates(ctx, g)
		}
	}
	if err != nil {
		return errors.Join(err, private.Close())
	}
	return nil
}

// inflates checks that a segment inflates to exactly its payload and that anything may follow it. Hashing the payload is
// not enough: a segment with a final block in it yields the right payload too, and the reader of the package would stop
// there and drop the rest. So a final stored block of random bytes is put behind it; they come out again, with nothing
// left over, only if the segment ended on a byte boundary between blocks. Random, or the segment could be made to fit.
func inflates(ctx context.Context, g *segment) error {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	in := bufio.NewReaderSize(io.MultiReader(contextReader{ctx, g.reader()}, bytes.NewReader(storedBlock(nonce))), chunkSize)
	z := flate.NewReader(in) // reads a byte at a time from a ByteReader, so nothing is taken beyond the final block
	payload := sha256.New()
	_, err := io.CopyN(payload, z, g.ref.PayloadSize)
	var rest []byte
	if err == nil {
		rest, err = io.ReadAll(io.LimitReader(z, int64(len(nonce))+1))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, after := in.ReadByte()
	if got := schema.Digest(payload.Sum(nil)); err != nil || got != g.ref.Payload || !bytes.Equal(rest, nonce) || after != io.EOF {
		return altered(g.ref, errors.Join(err, &schema.AlteredError{Object: "payload", Want: g.ref.Payload, Got: got}))
	}
	return nil
}

// storedBlock is a final deflate block of b uncompressed (RFC 1951, 3.2.4).
func storedBlock(b []byte) []byte {
	n := uint16(len(b))
	return append([]byte{1, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)}, b...)
}

// compress makes the segment's bytes, from files read a second time.
func (s *segments) compress(ctx context.Context, g *segment, p payload) error {
	private := s.newPrivate()
	sum, payload := sha256.New(), sha256.New()
	var n counter
	pr, pw := io.Pipe()
	go func() {
		_, err := p.write(ctx, io.MultiWriter(pw, payload))
		pw.CloseWithError(err)
	}()
	err := deflateTo(io.MultiWriter(private, sum, &n), pr, nil, false)
	pr.CloseWithError(err)
	if err == nil && schema.Digest(payload.Sum(nil)) != g.ref.Payload {
		err = errors.New("files changed while they were read")
	}
	if err != nil {
		return errors.Join(err, private.Close())
	}
	g.bytes, g.ref.Digest, g.ref.Size = private, schema.Digest(sum.Sum(nil)), int64(n)
	return nil
}

// publish stores the segment and then the claim on it, so that a claim never comes first.
func (s *segments) publish(ctx context.Context, g *segment) error {
	err := s.store.Create(ctx, schema.SegmentKey(g.ref.Digest), g.reader())
	if errors.Is(err, fs.ErrExist) {
		err = s.same(ctx, g.ref)
	}
	if err != nil {
		return err
	}
	b, err := json.Marshal(g.ref)
	if err != nil {
		return err
	}
	err = s.store.Create(ctx, schema.PayloadKey(g.ref.Payload, codec), bytes.NewReader(b))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Somebody else was quicker; of one bake version, it is the same segment.
	claim, err := s.claim(ctx, g.ref)
	if err == nil && (claim == nil || *claim != g.ref) {
		err = refuse(fmt.Errorf("%s in the store is altered: this payload makes segment %s", schema.PayloadKey(g.ref.Payload, codec), g.ref.Digest))
	}
	return err
}

// same checks a segment that was in the store before, but without a claim.
func (s *segments) same(ctx context.Context, ref schema.SegmentRef) error {
	r, err := s.store.Open(ctx, schema.SegmentKey(ref.Digest))
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(contextReader{ctx, r}, ref.Size+1)); err != nil {
		return err
	}
	if got := schema.Digest(sum.Sum(nil)); got != ref.Digest {
		return altered(ref, &schema.AlteredError{Object: "segment", Want: ref.Digest, Got: got})
	}
	return nil
}

func altered(ref schema.SegmentRef, err error) error {
	return refuse(fmt.Errorf("segment %s in the store is altered: %w", ref.Digest.Short(), err))
}

func refuse(err error) error {
	return fault.Refuse(err, "nothing is built on a store that changed; `bakehouse store fsck` lists what is wrong in it")
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
