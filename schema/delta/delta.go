// Package delta encodes a metadata file as the difference to one that a host holds (RFC 9842 in spirit, without its
// dictionary identifiers).
//
// A host that asks for N.ROLE.json and holds M.ROLE.json adds HaveHeader with the decimal M. The server may then answer
// with Content-Encoding Encoding, whose body Inflate turns into N's bytes, given M's. It may as well answer in full,
// with gzip or without. The bytes are verified afterwards like any other; a body that does not inflate, or whose result
// does not verify, is fetched again without HaveHeader before it counts against the server.
//
// Deflate looks back 32 KiB at most, and equal places of two versions lie as far apart as the old one is long. So the
// body is one raw deflate stream per block of 12 KiB of the new file, each with the stretch of the old file around the
// same offset as preset dictionary: edits that shift the rest by less than 10 KiB cost little wherever they are.
package delta

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// HaveHeader is the request header with the version that a host holds, Encoding the Content-Encoding of a difference.
const (
	HaveHeader = "Bakehouse-Have"
	Encoding   = "bakehouse-deflate"
)

const (
	block = 12 << 10
	slack = 10 << 10 // block + 2*slack is one window of deflate
)

// dictionary is the stretch of old for the block at offset.
func dictionary(old []byte, offset int) []byte {
	lo := min(max(0, offset-slack), len(old))
	hi := min(offset+block+slack, len(old))
	return old[lo:hi]
}

// Deflate encodes file for a reader that holds old.
func Deflate(file, old []byte) ([]byte, error) {
	var out bytes.Buffer
	for off := 0; off < len(file) || off == 0; off += block {
		w, err := flate.NewWriterDict(&out, flate.BestCompression, dictionary(old, off))
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(file[off:min(off+block, len(file))]); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// Inflate is the inverse of Deflate. It reads b to its end and refuses a result of more than limit bytes.
func Inflate(b, old []byte, limit int64) ([]byte, error) {
	in := bytes.NewReader(b) // an io.ByteReader, so that each stream is read to its last byte and no further
	var out bytes.Buffer
	z := flate.NewReader(in)
	for off := 0; ; off += block {
		if err := z.(flate.Resetter).Reset(in, dictionary(old, off)); err != nil {
			return nil, err
		}
		n, err := io.Copy(&out, io.LimitReader(z, block+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", Encoding, err)
		case n > block || n < block && in.Len() > 0:
			return nil, errors.New(Encoding + ": a block has the wrong length")
		case int64(out.Len()) > limit:
			return nil, fmt.Errorf("%s: inflates to more than %d bytes", Encoding, limit)
		case in.Len() == 0:
			return out.Bytes(), nil
		}
	}
}
