package schema

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// Metadata travels as the difference to what a host holds (RFC 9842 in spirit, without its dictionary identifiers).
//
// A host that asks for N.ROLE.json and holds M.ROLE.json adds HaveHeader with the decimal M. The server may then answer
// with Content-Encoding DictionaryEncoding, whose body InflateAgainst turns into N's bytes, given M's. It may as well
// answer in full, with gzip or without. The bytes are verified afterwards like any other; a body that does not inflate,
// or whose result does not verify, is fetched again without HaveHeader before it counts against the server.
//
// Deflate looks back 32 KiB at most, and equal places of two versions lie as far apart as the old one is long. So the
// body is one raw deflate stream per dictBlock bytes of the new file, each with the stretch of the old file around the
// same offset as preset dictionary: edits that shift the rest by less than dictSlack cost little wherever they are.
const (
	HaveHeader         = "Bakehouse-Have"
	DictionaryEncoding = "bakehouse-deflate"
)

const (
	dictBlock = 12 << 10
	dictSlack = 10 << 10 // dictBlock + 2*dictSlack is one window of deflate
)

// dictionary is the stretch of old for the block at offset.
func dictionary(old []byte, offset int) []byte {
	lo := min(max(0, offset-dictSlack), len(old))
	hi := min(offset+dictBlock+dictSlack, len(old))
	return old[lo:hi]
}

// DeflateAgainst encodes file for a reader that holds old.
func DeflateAgainst(file, old []byte) ([]byte, error) {
	var out bytes.Buffer
	for off := 0; off < len(file) || off == 0; off += dictBlock {
		w, err := flate.NewWriterDict(&out, flate.BestCompression, dictionary(old, off))
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(file[off:min(off+dictBlock, len(file))]); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// InflateAgainst is the inverse of DeflateAgainst. It reads b to its end and refuses a result of more than limit bytes.
func InflateAgainst(b, old []byte, limit int64) ([]byte, error) {
	in := bytes.NewReader(b) // an io.ByteReader, so that each stream is read to its last byte and no further
	var out bytes.Buffer
	z := flate.NewReader(in)
	for off := 0; ; off += dictBlock {
		if err := z.(flate.Resetter).Reset(in, dictionary(old, off)); err != nil {
			return nil, err
		}
		n, err := io.Copy(&out, io.LimitReader(z, dictBlock+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", DictionaryEncoding, err)
		case n > dictBlock || n < dictBlock && in.Len() > 0:
			return nil, errors.New(DictionaryEncoding + ": a block has the wrong length")
		case int64(out.Len()) > limit:
			return nil, fmt.Errorf("%s: inflates to more than %d bytes", DictionaryEncoding, limit)
		case in.Len() == 0:
			return out.Bytes(), nil
		}
	}
}
