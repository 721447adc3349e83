package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// Seeker reads an object of a known size from wherever it is read, for whoever takes an io.ReadSeeker. Nothing is asked
// of the store before the first Read.
func Seeker(ctx context.Context, s Store, key string, size int64) io.ReadSeekCloser {
	return &seeker{ctx: ctx, store: s, key: key, size: size}
}

type seeker struct {
	ctx      context.Context
	store    Store
	key      string
	size, at int64
	r        io.ReadCloser // from at on, if it is not nil
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return s.at, fs.ErrInvalid
	}
	if offset == s.at {
		return s.at, nil
	}
	s.at = offset
	return s.at, s.Close()
}

func (s *seeker) Read(b []byte) (n int, err error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	if s.r == nil {
		if s.r, err = s.store.OpenRange(s.ctx, s.key, s.at, s.size-s.at); err != nil {
			return 0, err
		}
	}
	n, err = s.r.Read(b)
	s.at += int64(n)
	if errors.Is(err, io.EOF) && s.at < s.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *seeker) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.Close()
	s.r = nil
	return err
}
