package archive

import (
	"bytes"
	"context"
	"io"

	"bakehouse/reconcile/evaluate/archive/stream"
)

// open finds out what an archive is.
func open(ctx context.Context, r io.ReaderAt, size int64, b bounds) (what string, w walker, err error) {
	head := make([]byte, 8)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(stream.ArMagic)):
		from, length, err := debData(r, size)
		if err != nil {
			return "", nil, wrong("deb", err)
		}
		w, err := tarIn(ctx, r, from, length, b)
		if err != nil {
			return "", nil, wrong("deb", err)
		}
		return "deb", w, nil
	case bytes.HasPrefix(head, []byte(stream.RPMMagic)):
		w, err := rpmPayload(ctx, r, size, b)
		if err != nil {
			return "", nil, wrong("rpm", err)
		}
		return "rpm", w, nil
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		w, err := newZip(ctx, r, size, b)
		if err != nil {
			return "", nil, wrong("zip", err)
		}
		return "zip", w, nil
	}
	w, err = tarIn(ctx, r, 0, size, b)
	return "tar", w, err
}
