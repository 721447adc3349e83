// Package sources digests what plugins take from the repo: files, members of archives there, and whole trees of either.
package sources

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Hasher is a file system that knows a hash of a file's bytes without reading them.
type Hasher interface {
	HashOf(name string) (string, error)
}

// Sources digests each file once. It lists no archive that the cache tells enough of. It is safe for concurrent use.
type Sources struct {
	fsys  fs.FS
	repo  *sourcefile.Repo
	cache *cache.Cache
	mu    sync.Mutex
	seen  map[sourceName]sourceFile
	trees map[sourceName][]sourcefile.Node
}

// sourceName is a file of the repo, or a member of it.
type sourceName struct{ file, member string }

type sourceFile struct {
	sum  schema.Digest
	size int64
	err  error
}

// New reads the repo whose top is fsys; c may be nil.
func New(fsys fs.FS, c *cache.Cache) *Sources {
	return &Sources{fsys: fsys, cache: c, repo: sourcefile.New(fsys), seen: map[sourceName]sourceFile{},
		trees: map[sourceName][]sourcefile.Node{}}
}

// Fill takes size and digest of a file that is in the repo, or in an archive there.
func (s *Sources) Fill(ctx context.Context, f *fleet.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := sourceName{f.Repo, f.Member}
	is, ok := s.seen[name]
	if !ok {
		is = s.find(ctx, name)
		if ctx.Err() == nil {
			s.seen[name] = is
		}
	}
	f.SHA256, f.Size = is.sum, is.size
	return is.err
}

// find asks the cache, and reads what it does not know.
func (s *Sources) find(ctx context.Context, name sourceName) (is sourceFile) {
	h, ok := s.fsys.(Hasher)
	if s.cache == nil || !ok {
		return s.read(ctx, name)
	}
	hash, err := h.HashOf(name.file)
	if err != nil {
		return s.read(ctx, name) // which says why
	}
	if kept, ok := s.cache.Find("source", hash, name.member); ok {
		var sum string
		if n, _ := fmt.Sscanf(kept, "%d %s", &is.size, &sum); n == 2 {
			if is.sum, err = schema.ParseDigest(sum); err == nil {
				return is
			}
		}
	}
	if is = s.read(ctx, name); is.err == nil {
		s.cache.Keep(fmt.Appendf(nil, "%d %s", is.size, is.sum), "source", hash, name.member)
	}
	return is
}

func (s *Sources) read(ctx context.Context, name sourceName) (is sourceFile) {
	if name.member == "" {
		is.sum, is.size, is.err = s.repo.Sum(name.file)
		return is
	}
	m, err := s.repo.Member(ctx, name.file, name.member)
	if err != nil {
		return sourceFile{err: err}
	}
	return sourceFile{sum: m.SHA256, size: m.Size}
}
