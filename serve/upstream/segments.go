package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/upstream/shelf"
)

// Of a segment that breaks off, the rest is asked for that often, with pauses that grow.
const (
	resumes     = 5
	resumePause = time.Second
)

// fetch is a segment on its way to the shelf. Those who want it read it while it grows, all but its last byte, which
// they get once the whole is what its digest says: nothing that was not verified is ever handed out whole.
type fetch struct {
	size int64
	path string

	mu      sync.Mutex
	written int64
	done    bool
	err     error
	grown   chan struct{} // closed and replaced when something changes
}

func (f *fetch) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.grown)
	f.grown = make(chan struct{})
}

// segment opens a segment from offset on.
func (s *Site) segment(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	d, ok := shelf.Named(key)
	if !ok {
		return nil, fs.ErrNotExist
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fetching[key]
	if f == nil {
		s.mu.Unlock()
		file, err := s.shelf.OpenNamed(key)
		s.mu.Lock()
		if err == nil {
			s.hits.Add(1)
			_, err = file.Seek(offset, io.SeekStart)
			return file, err
		}
		host, asks := store.Host(ctx)
		size, known := s.sizes[d]
		if !asks || host == "" || !known {
			return nil, fs.ErrNotExist
		}
		if time.Now().Before(s.down) {
			return nil, fmt.Errorf("segment %s: %w", d.Short(), errDown)
		}
		if f = s.fetching[key]; f == nil {
			s.misses.Add(1)
			download, err := s.shelf.Download(key)
			if err != nil {
				s.mu.Unlock()
				s.noteDisk(err)
				r, err := s.passOn(ctx, host, d, size, offset)
				s.mu.Lock()
				return r, err
			}
			f = &fetch{size: size, path: download.Name(), grown: make(chan struct{})}
			s.fetching[key] = f
			s.work.Go(func() { s.fetch(f, download, key, host, d) })
		}
	}
	file, err := os.Open(f.path) // under s.mu: it is removed or renamed under that as well
	if err != nil {
		return nil, err
	}
	return &follower{ctx: ctx, f: f, file: file, at: offset}, nil
}

// follower reads a segment that is still on its way.
type follower struct {
	ctx  context.Context
	f    *fetch
	file *os.File
	at   int64
}

func (r *follower) Read(b []byte) (int, error) {
	for {
		r.f.mu.Lock()
		end, done, err, grown := min(r.f.written, r.f.size-1), r.f.done, r.f.err, r.f.grown
		r.f.mu.Unlock()
		if done && err == nil {
			end = r.f.size
		}
		if n := min(int64(len(b)), end-r.at); n > 0 {
			got, err := r.file.ReadAt(b[:n], r.at)
			r.at += int64(got)
			return got, err
		}
		switch {
		case err != nil:
			return 0, err
		case done:
			return 0, io.EOF
		}
		select {
		case <-grown:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

func (r *follower) Close() error { return r.file.Close() }

// fetch brings a segment to the shelf.
func (s *Site) fetch(f *fetch, to *shelf.Download, key, host string, d schema.Digest) {
	err := s.receive(f, to, host, d)
	local := errors.As(err, new(*os.PathError))
	s.mu.Lock()
	delete(s.fetching, key)
	if err == nil {
		err = to.Commit()
	} else {
		to.Discard()
	}
	s.mu.Unlock()
	f.change(func() { f.done, f.err = true, err })
	if local {
		s.noteDisk(err)
	} else if err == nil {
		s.noteDisk(nil)
	} else {
		s.log.Warn("a segment was not fetched", "segment", d.Hex(), "host", host, "error", err)
	}
}

// receive writes all of a segment; what breaks off is resumed.
func (s *Site) receive(f *fetch, to *shelf.Download, host string, d schema.Digest) (err error) {
	for try := range resumes + 1 {
		if try > 0 {
			select {
			case <-time.After(time.Duration(try) * resumePause):
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		}
		at := f.written
		err = s.receiveFrom(f, to, host, d)
		if err == nil || !errors.Is(err, wire.ErrUnreachable) || s.ctx.Err() != nil {
			return err
		}
		if f.written > at {
			s.log.Debug("a segment broke off", "segment", d.Hex(), "bytes", f.written, "of", f.size, "error", err)
		}
	}
	s.note(err)
	return err
}

func (s *Site) receiveFrom(f *fetch, to *shelf.Download, host string, d schema.Digest) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	seg, err := c.For(host).Segment(s.ctx, d, f.size, f.written, s.origins)
	if err != nil {
		return err
	}
	defer seg.Body.Close()
	skip := f.written - seg.Offset // from a server without ranges
	_, err = io.CopyN(io.Discard, seg.Body, skip)
	buf := make([]byte, 64<<10)
	for err == nil && f.written < f.size {
		var n int
		n, err = seg.Body.Read(buf[:min(int64(len(buf)), f.size-f.written)])
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return werr
			}
			f.change(func() { f.written += int64(n) })
		}
	}
	if f.written == f.size {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %d of %d bytes", wire.ErrUnreachable, f.written, f.size)
	}
	return err
}

// origins are the places that signed policy lets segments come from.
func (s *Site) origins(u *url.URL) (certificates string, named bool) {
	s.mu.Lock()
	r := s.release
	s.mu.Unlock()
	if r == nil {
		return "", false
	}
	return r.Policy.Origin(u)
}

// passOn hands a segment on that the disk has no room for.
func (s *Site) passOn(ctx context.Context, host string, d schema.Digest, size, offset int64) (io.ReadCloser, error) {
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	seg, err := c.For(host).Segment(ctx, d, size, 0, s.origins)
	s.note(err)
	if err != nil {
		return nil, err
	}
	r := &passing{body: seg.Body, left: size, sum: sha256.New(), want: d}
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// passing reads a segment whose last byte comes once the whole is what its digest says.
type passing struct {
	body io.ReadCloser
	left int64
	sum  hash.Hash
	want schema.Digest
}

func (r *passing) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(b[:min(int64(len(b)), max(r.left-1, 1))])
	r.sum.Write(b[:n])
	if r.left -= int64(n); r.left > 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	if got := schema.Digest(r.sum.Sum(nil)); got != r.want {
		return 0, fault.Refuse(&schema.AlteredError{Object: "segment", Want: r.want, Got: got},
			"the centre, or something on the way, altered it")
	}
	return n, nil
}

func (r *passing) Close() error { return r.body.Close() }
