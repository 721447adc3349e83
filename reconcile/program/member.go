package program

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"bakehouse/reconcile/evaluate/archive"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// member is a file of an archive, taken out once: a package reads each of its files several times.
type member struct {
	mu    sync.Mutex
	bytes *os.File
	size  int64
}

// fetchedArchive is what a URL has, as this process's private copy with the pinned digest. The store is not read again:
// it could answer differently the second time.
type fetchedArchive struct {
	mu    sync.Mutex
	bytes *os.File
	size  int64
	table *archive.Table
}

// Close frees the private copies.
func (s *Sources) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, m := range s.members {
		if m.bytes != nil {
			errs = append(errs, m.bytes.Close())
		}
	}
	for _, a := range s.archives {
		if a.bytes != nil {
			errs = append(errs, a.bytes.Close())
		}
	}
	for _, w := range s.wholes {
		if w.bytes != nil {
			errs = append(errs, w.bytes.Close())
		}
	}
	clear(s.members)
	clear(s.wholes)
	clear(s.archives)
	return errors.Join(errs...)
}

// member opens a file that a plugin takes from an archive.
func (s *Sources) member(f fleet.File) (io.ReadCloser, error) {
	if f.Tree {
		return s.piece(f)
	}
	m := lookup(s, s.members, f.SHA256)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes == nil {
		out, err := private()
		if err != nil {
			return nil, err
		}
		var size counter
		if err := s.take(io.MultiWriter(out, &size), f); err != nil {
			return nil, errors.Join(err, out.Close())
		}
		m.bytes, m.size = out, int64(size)
	}
	return io.NopCloser(io.NewSectionReader(m.bytes, 0, m.size)), nil
}

// whole is all files of an archive of the repo, taken out in one go.
type whole struct {
	mu     sync.Mutex
	bytes  *os.File
	pieces sourcefile.Pieces
}

// piece opens a file that comes with others of an archive of the repo: of thousands, each by itself would take an open
// file and a walk through the archive.
func (s *Sources) piece(f fleet.File) (io.ReadCloser, error) {
	w := lookup(s, s.wholes, schema.DigestOf([]byte(f.Repo)))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes == nil {
		out, err := private()
		if err != nil {
			return nil, err
		}
		buffered := bufio.NewWriterSize(out, 1<<20)
		pieces, err := s.repo.CopyAll(s.ctx, buffered, f.Repo)
		if err = errors.Join(err, buffered.Flush()); err != nil {
			return nil, errors.Join(err, out.Close())
		}
		w.bytes, w.pieces = out, pieces
	}
	p, ok := w.pieces[f.Member]
	if !ok {
		return nil, fmt.Errorf("%s has no member %q", f.Repo, f.Member)
	}
	return io.NopCloser(io.NewSectionReader(w.bytes, p.At, p.Size)), nil
}

// take copies a member out of its archive.
func (s *Sources) take(w io.Writer, f fleet.File) error {
	if f.URL == "" {
		return s.repo.CopyMember(s.ctx, w, f.Repo, f.Member)
	}
	a := lookup(s, s.archives, f.Archive)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bytes == nil {
		if err := s.keep(a, f); err != nil {
			return err
		}
	}
	m, err := a.table.Find(f.Member)
	if err != nil {
		hint := fault.HintOf(err)
		if hint == "" {
			hint = "name another member"
		}
		return fault.Hint(fmt.Errorf("%s: %s: %w", f.Source, f.URL, err), "%s", hint)
	}
	return a.table.Copy(s.ctx, w, a.bytes, a.size, m)
}

// keep makes the private copy of an archive, and lists it.
func (s *Sources) keep(a *fetchedArchive, f fleet.File) error {
	r, err := s.fetched(f)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := private()
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(r, s.most+1))
	if n > s.most {
		err = fmt.Errorf("%s: has more than %d bytes", f.URL, s.most)
	}
	if err == nil {
		if a.table, err = archive.Read(s.ctx, out, n); err != nil {
			err = fmt.Errorf("%s: %s: %w", f.Source, f.URL, err)
		}
	}
	if err != nil {
		return errors.Join(err, out.Close())
	}
	a.bytes, a.size = out, n
	return nil
}

// lookup returns what is known of d, which may be nothing yet.
func lookup[T any](s *Sources, in map[schema.Digest]*T, d schema.Digest) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := in[d]
	if v == nil {
		v = new(T)
		in[d] = v
	}
	return v
}

// private makes a file that nobody else can open and that is gone when the process is.
func private() (*os.File, error) {
	f, err := os.CreateTemp("", "bakehouse-source-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }
