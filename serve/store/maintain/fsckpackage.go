package maintain

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"bakehouse/schema"
	"bakehouse/serve/store/kinds"
)

// deflateCodec is how the names of codecs start whose segments are raw deflate; a number, the bake version, follows.
const deflateCodec = "deflate"

// payload checks a claim: that its segment inflates to the payload in the key.
func (c *checker) payload(key string) error {
	base := key[strings.LastIndexByte(key, '/')+1:]
	hex, codec, _ := strings.Cut(base, ".")
	want, err := schema.ParseHex(hex)
	if err != nil {
		return err
	}
	if schema.PayloadKey(want, codec) != key {
		return fmt.Errorf("belongs at %s", schema.PayloadKey(want, codec))
	}
	b, err := c.readAll(key, schema.MaxStatement)
	if err != nil {
		return err
	}
	var ref schema.SegmentRef
	if err := schema.Decode(b, &ref); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if ref.Payload != want {
		return fmt.Errorf("claims payload %s", ref.Payload)
	}
	if err := c.segment(ref); err != nil {
		return err
	}
	if !strings.HasPrefix(codec, deflateCodec) {
		c.note(key, fmt.Sprintf("uses codec %.40q, which this version does not know: its segment was not inflated", codec))
		return nil
	}
	if c.altered[schema.SegmentKey(ref.Digest)] {
		return nil // reported already, and what it inflates to says nothing more
	}
	r, err := c.read(schema.SegmentKey(ref.Digest))
	if err != nil {
		return err
	}
	defer r.Close()
	return checkPayload(r, ref)
}

// segment checks that a segment is there in the size that a reference to it names.
func (c *checker) segment(ref schema.SegmentRef) error {
	size, ok, err := c.there(schema.SegmentKey(ref.Digest))
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("its segment %s is missing", ref.Digest)
	case size != ref.Size && !c.altered[schema.SegmentKey(ref.Digest)]:
		return fmt.Errorf("says %d bytes of segment %s, which has %d", ref.Size, ref.Digest, size)
	}
	return nil
}

// checkPayload inflates a segment, which ends between two blocks on a byte boundary so that anything may follow it. A
// last stored block of random bytes is put behind it: they come out again only if the segment neither ended the
// stream (the reader of a package would drop the rest) nor took them for its own.
func checkPayload(r io.Reader, ref schema.SegmentRef) error {
	probe := make([]byte, 16)
	rand.Read(probe)
	n := byte(len(probe))
	last := append([]byte{0x01, n, 0x00, ^n, 0xff}, probe...) // RFC 1951, 3.2.4
	in := bufio.NewReader(io.MultiReader(r, bytes.NewReader(last)))
	z := flate.NewReader(in) // takes single bytes from a ByteReader, so what is left in it was not part of the stream
	defer z.Close()
	h := sha256.New()
	size, err := io.Copy(h, io.LimitReader(z, ref.PayloadSize))
	if err != nil {
		return fmt.Errorf("its segment %s does not inflate: %w", ref.Digest, err)
	}
	if got := schema.Digest(h.Sum(nil)); size != ref.PayloadSize || got != ref.Payload {
		return &schema.AlteredError{Object: "payload", Want: ref.Payload, Got: got}
	}
	rest, err := io.ReadAll(io.LimitReader(z, int64(len(probe))+1))
	if unread := (*unreadError)(nil); errors.As(err, &unread) {
		return err
	}
	if _, after := in.ReadByte(); err != nil || !bytes.Equal(rest, probe) || after != io.EOF {
		return fmt.Errorf("its segment %s does not end where its payload does", ref.Digest)
	}
	return nil
}

// manifest checks a manifest and that its segments are there.
func (c *checker) manifest(key string) error {
	want, err := kinds.DigestIn(key, schema.ManifestKey)
	if err != nil {
		return err
	}
	packed, err := c.readAll(key, schema.MaxManifest)
	if err != nil {
		return err
	}
	m, err := schema.DecodeManifest(packed, want)
	if err != nil {
		return err
	}
	c.packages[key] = m.SHA256
	intact := true
	for _, ref := range m.Segments() {
		if err := c.segment(ref); err != nil {
			return err
		}
		intact = intact && !c.altered[schema.SegmentKey(ref.Digest)]
	}
	if !c.assemble || !intact {
		return nil
	}
	return m.Assemble(io.Discard, func(ref schema.SegmentRef) (io.ReadCloser, error) {
		return c.read(schema.SegmentKey(ref.Digest))
	})
}

// contents checks the list of a package's or a segment's files.
func (c *checker) contents(key string) error {
	if _, err := kinds.DigestIn(key, schema.ContentsKey); err != nil {
		return err
	}
	b, err := c.readAll(key, schema.MaxContents)
	if err == nil {
		_, err = schema.DecodeContents(b)
	}
	return err
}

// statement checks that an envelope holds a statement on the package of the manifest that its key names.
func (c *checker) statement(key string) error {
	b, err := c.readAll(key, schema.MaxStatement)
	if err != nil {
		return err
	}
	st, err := kinds.Statement(key, b)
	if err != nil {
		return err
	}
	c.stated[schema.ManifestKey(st.Manifest)] = true
	return nil
}
