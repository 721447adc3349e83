// Package spool has the content of an object before it is created elsewhere: its size and digest must be known before
// the first byte is sent, it is sent again if an answer is lost, and the reader that it comes from may fail.
package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"

	"bakehouse/schema"
)

// inMemory is how much of it is kept in memory; more goes into a file for the time being.
const inMemory = 1 << 20

// Spool is content that was read to its end.
type Spool struct {
	Size   int64
	SHA256 schema.Digest

	at   io.ReaderAt
	file *os.File
}

// Reader reads it from the beginning.
func (s *Spool) Reader() *io.SectionReader { return io.NewSectionReader(s.at, 0, s.Size) }

// Close gives up its file.
func (s *Spool) Close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// Read reads r to its end.
func Read(ctx context.Context, r io.Reader) (*Spool, error) {
	s := &Spool{}
	h := sha256.New()
	r = io.TeeReader(contextReader{ctx, r}, h)
	head, err := io.ReadAll(io.LimitReader(r, inMemory))
	s.at, s.Size = bytes.NewReader(head), int64(len(head))
	if err == nil && s.Size == inMemory {
		err = s.spill(head, r)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.SHA256 = schema.Digest(h.Sum(nil))
	return s, nil
}

// spill goes on in a file, which is for this user only and has no name.
func (s *Spool) spill(head []byte, r io.Reader) (err error) {
	if s.file, err = os.CreateTemp("", "bakehouse-*"); err != nil {
		return err
	}
	if err := os.Remove(s.file.Name()); err != nil {
		return err
	}
	if _, err := s.file.Write(head); err != nil {
		return err
	}
	n, err := io.Copy(s.file, r)
	s.at, s.Size = s.file, s.Size+n
	return err
}

// contextReader stops a long Create when its context ends.
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
