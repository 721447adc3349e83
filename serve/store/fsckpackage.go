package store

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"bakehouse/schema"
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

// checkPayload inflates a segment, which ends in a sync flush: a last, empty block is put after it.
func checkPayload(r io.Reader, ref schema.SegmentRef) error {
	lastBlock := []byte{0x01, 0x00, 0x00, 0xff, 0xff}
	in := bufio.NewReader(io.MultiReader(r, bytes.NewReader(lastBlock)))
	z := flate.NewReader(in) // takes single bytes from a ByteReader, so what is left in it was not part of the stream
	defer z.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(z, ref.PayloadSize+1))
	if err != nil {
		return fmt.Errorf("its segment %s does not inflate: %w", ref.Digest, err)
	}
	if got := schema.Digest(h.Sum(nil)); n != ref.PayloadSize || got != ref.Payload {
		return &schema.AlteredError{Object: "payload", Want: ref.Payload, Got: got}
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("its segment %s ends its deflate stream too early", ref.Digest)
	}
	return nil
}

// manifest checks a manifest and that its segments are there.
func (c *checker) manifest(key string) error {
	want, err := digestIn(key, schema.ManifestKey)
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
	c.packages[m.SHA256] = true
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

// statement checks that an envelope holds a statement on the package that its key names.
func (c *checker) statement(key string) error {
	hex, _, _ := strings.Cut(strings.TrimPrefix(key, schema.StatementDir), "/")
	pkg, err := schema.ParseHex(hex)
	if err != nil {
		return err
	}
	b, err := c.readAll(key, schema.MaxStatement)
	if err != nil {
		return err
	}
	var envelope struct {
		PayloadType string            `json:"payloadType"`
		Payload     []byte            `json:"payload"`
		Signatures  []json.RawMessage `json:"signatures"`
	}
	if err := schema.Decode(b, &envelope); err != nil {
		return fmt.Errorf("envelope: %w", err)
	}
	if envelope.PayloadType != schema.StatementType || len(envelope.Signatures) == 0 {
		return fmt.Errorf("envelope of type %.80q with %d signatures is no statement", envelope.PayloadType, len(envelope.Signatures))
	}
	st, err := schema.DecodeStatement(envelope.Payload)
	if err != nil {
		return err
	}
	if st.Package != pkg {
		return fmt.Errorf("is a statement on package %s", st.Package)
	}
	return nil
}
