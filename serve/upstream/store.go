package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
)

// releaseNews is a release that is not served yet: read into memory, and onto the shelf once it is verified as a whole,
// so that the site has the old one or the new one whatever happens.
type releaseNews struct {
	stamp   []byte // the timestamp that the centre offers; nil: none
	version int64
	root    int64 // the newest that the centre has
	pending map[string][]byte
	whole   bool // the last try failed: differences are not asked for
}

// versionsKept is how many versions of a role's file stay: hosts that hold one get the difference.
const versionsKept = 8

// Store is the site's store. It is read only.
func (s *Site) Store() store.Store { return siteStore{s} }

type siteStore struct{ *Site }

var errReadOnly = fault.Hint(errors.New("the store of a site is its centre's"), "publish to the centre")

func (s siteStore) Create(context.Context, string, io.Reader) error  { return errReadOnly }
func (s siteStore) DeleteBatch(context.Context, []string) error      { return errReadOnly }
func (s siteStore) Strays(context.Context) ([]string, error)         { return nil, nil }
func (s siteStore) Now(context.Context) (time.Time, error)           { return time.Now(), nil }
func (s siteStore) Lock(context.Context, string) (store.Lock, error) { return nil, errReadOnly }

// Open implements store.Store.
func (s siteStore) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if strings.HasPrefix(key, schema.SegmentDir) {
		return s.segment(ctx, key, 0)
	}
	b, err := s.small(ctx, key)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// OpenRange implements store.Store.
func (s siteStore) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasPrefix(key, schema.SegmentDir) {
		r, err := s.segment(ctx, key, offset)
		if err != nil {
			return nil, err
		}
		return limited{io.LimitReader(r, length), r}, nil
	}
	b, err := s.small(ctx, key)
	if err != nil {
		return nil, err
	}
	b = b[min(offset, int64(len(b))):]
	return io.NopCloser(bytes.NewReader(b[:min(length, int64(len(b)))])), nil
}

type limited struct {
	io.Reader
	io.Closer
}

// Stat implements store.Store: an object that a host may have is there, wherever it is now.
func (s siteStore) Stat(ctx context.Context, key string) (store.Entry, error) {
	if _, _, root := rootOf(key); root {
		_, err := s.small(ctx, key)
		return store.Entry{Key: key}, err
	}
	_, asks := store.Host(ctx)
	expendable := strings.HasPrefix(key, schema.SegmentDir) || strings.HasPrefix(key, schema.ManifestDir)
	if s.shelf.Has(key) || expendable && asks {
		return store.Entry{Key: key}, nil
	}
	return store.Entry{}, fs.ErrNotExist
}

// List implements store.Store.
func (s siteStore) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var keys []string
		switch {
		case strings.HasPrefix(prefix, schema.StatementDir):
			manifest, err := schema.ParseHex(strings.Trim(strings.TrimPrefix(prefix, schema.StatementDir), "/"))
			if err != nil {
				return
			}
			list, err := s.statements(ctx, manifest)
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			for i := range list {
				keys = append(keys, fmt.Sprintf("%s%02d.json", prefix, i))
			}
		case prefix == schema.TimestampDir:
			keys = s.timestamps()
		default:
			keys = s.shelf.Keys(prefix)
		}
		for _, key := range keys {
			if key > after && !yield(store.Entry{Key: key}, nil) {
				return
			}
		}
	}
}

// timestamps are the one that the centre offers, or those that were served.
func (s *Site) timestamps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news.stamp != nil {
		return []string{schema.TimestampKey(s.news.version)}
	}
	return s.shelf.Keys(schema.TimestampDir)
}

// small reads an object that is no segment.
func (s *Site) small(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	b, ok := s.news.pending[key]
	if !ok && s.news.stamp != nil && key == schema.TimestampKey(s.news.version) {
		b, ok = s.news.stamp, true
	}
	s.mu.Unlock()
	if ok {
		return b, nil
	}
	if rest, is := strings.CutPrefix(key, schema.StatementDir); is {
		return s.statement(ctx, rest)
	}
	if b, err := s.shelf.Get(key); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			s.hits.Add(1)
			s.measure(key, b)
		}
		return b, err
	}
	host, asks := store.Host(ctx)
	if !asks {
		return nil, fs.ErrNotExist
	}
	return s.once(ctx, key, func(ctx context.Context) ([]byte, error) {
		s.misses.Add(1)
		switch {
		case strings.HasPrefix(key, schema.MetadataDir):
			return s.fetchMetadata(ctx, host, key)
		case strings.HasPrefix(key, schema.TreeDir), strings.HasPrefix(key, schema.TargetDir):
			return s.fetchByDigest(ctx, host, key)
		case strings.HasPrefix(key, schema.ManifestDir):
			return s.fetchManifest(ctx, host, key)
		}
		return nil, fs.ErrNotExist
	})
}

// asking is a small object on its way, for all who want it.
type asking struct {
	done chan struct{}
	b    []byte
	err  error
}

// smallTimeout bounds the fetch of one small object.
const smallTimeout = time.Minute

// once fetches an object for all who ask for it at the same time. It goes on when one of them leaves.
func (s *Site) once(ctx context.Context, key string, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	a := s.asking[key]
	if a == nil {
		a = &asking{done: make(chan struct{})}
		s.asking[key] = a
		s.work.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx, smallTimeout)
			defer cancel()
			a.b, a.err = fetch(ctx)
			s.mu.Lock()
			delete(s.asking, key)
			s.mu.Unlock()
			close(a.done)
		})
	}
	s.mu.Unlock()
	select {
	case <-a.done:
		return a.b, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keepPending keeps what a release is read from until it is verified.
func (s *Site) keepPending(key string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.pending[key] = b
}

// rootOf splits the key of a root's file.
func rootOf(key string) (version int64, name string, ok bool) {
	name, is := strings.CutPrefix(key, schema.MetadataDir)
	version, role, ok := origin.ParseName(name)
	return version, name, is && ok && role == "root"
}

var limits = map[string]int64{"root": schema.MaxRoot, "snapshot": schema.MaxSnapshot}

func (s *Site) fetchMetadata(ctx context.Context, host, key string) (b []byte, err error) {
	name := strings.TrimPrefix(key, schema.MetadataDir)
	version, role, ok := origin.ParseName(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	limit := limits[role]
	if limit == 0 {
		limit = schema.MaxTargets
	}
	s.mu.Lock()
	newest, whole := s.news.root, s.news.whole
	s.mu.Unlock()
	if role == "root" && version > newest {
		return nil, fs.ErrNotExist // or the centre has not said so yet
	}
	if host == "" {
		host = s.anyHost()
	}
	held := int64(0)
	if !whole && role != "root" && host != "" {
		held = s.newestOf(role, version)
	}
	err = s.ask(host, func(c *wire.Client) error {
		src := wire.Source{Client: c, NewestRoot: newest}
		if held > 0 {
			old, err := s.shelf.Get(schema.MetadataKey(role, held))
			if err == nil {
				b, err = src.MetadataAgainst(ctx, name, held, old, limit)
				return err
			}
		}
		b, err = src.Metadata(ctx, name, limit)
		return err
	})
	if err == nil {
		s.keepPending(key, b)
	}
	return b, err
}

// newestOf is the newest version of a role's file before another that is there; 0: none.
func (s *Site) newestOf(role string, before int64) (newest int64) {
	for _, key := range s.shelf.Keys(schema.MetadataDir) {
		v, r, ok := origin.ParseName(strings.TrimPrefix(key, schema.MetadataDir))
		if ok && r == role && v < before {
			newest = max(newest, v)
		}
	}
	return newest
}

// fetchByDigest fetches a tree or a top-level target, whose name its key does not have.
func (s *Site) fetchByDigest(ctx context.Context, host, key string) (b []byte, err error) {
	d, err := schema.ParseHex(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return nil, fs.ErrNotExist
	}
	if host == "" {
		host = s.anyHost()
	}
	err = s.ask(host, func(c *wire.Client) error {
		src := wire.Source{Client: c}
		if strings.HasPrefix(key, schema.TreeDir) {
			b, err = src.Tree(ctx, d, schema.MaxTree) // its root is checked by whoever reads it
			return err
		}
		for _, name := range []string{schema.PolicyTarget, schema.ReleaseTarget} {
			if b, err = src.Target(ctx, name, d, schema.MaxTarget); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if got := schema.DigestOf(b); err == nil && got != d {
			err = &schema.AlteredError{Object: "target", Want: d, Got: got}
		}
		return err
	})
	if err == nil {
		s.keepPending(key, b)
	}
	return b, err
}

// statementsKey is where the envelopes on a package are kept, as a list.
func statementsKey(manifest schema.Digest) string {
	return schema.StatementsPrefix(manifest) + "all.json"
}

// fetchManifest fetches a manifest, with the statements on its package.
func (s *Site) fetchManifest(ctx context.Context, host, key string) (b []byte, err error) {
	d, err := schema.ParseHex(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return nil, fs.ErrNotExist
	}
	var p *wire.Package
	err = s.ask(host, func(c *wire.Client) error {
		p, err = c.Package(ctx, d, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.decode(p.Manifest, d); err != nil {
		return nil, err
	}
	s.put(key, p.Manifest)
	_, err = s.putStatements(d, p.Statements)
	return p.Manifest, err
}

// put keeps what can be fetched again: a disk that is full is no reason not to serve it.
func (s *Site) put(key string, b []byte) { s.noteDisk(s.shelf.Put(key, b)) }

func (s *Site) noteDisk(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.disk
	if s.disk = ""; err != nil {
		s.disk = "the cache cannot be written: each host's request goes to the centre"
	}
	if s.disk != "" && before == "" {
		s.log.Error("the cache cannot be written: this site serves on from what it has", "error", err, "hint",
			"make room on the disk of --store, or lower --cache-size")
	}
}

func (s *Site) putStatements(manifest schema.Digest, list [][]byte) ([]byte, error) {
	raw := make([]json.RawMessage, len(list))
	for i, b := range list {
		raw[i] = b
	}
	b, err := json.Marshal(raw)
	if err == nil {
		s.put(statementsKey(manifest), b)
	}
	return b, err
}

// statementsFresh is for how long the statements on a package count as all that there are: further keys sign later.
const statementsFresh = time.Minute

// statements are the envelopes on a package, as the centre has them now or, cut off, as it had them.
func (s *Site) statements(ctx context.Context, manifest schema.Digest) (list []json.RawMessage, err error) {
	key := statementsKey(manifest)
	age, have := s.shelf.Age(key)
	var b []byte
	if host, asks := store.Host(ctx); asks && (!have || age > statementsFresh) {
		b, err = s.once(ctx, key, func(ctx context.Context) (b []byte, err error) {
			err = s.ask(host, func(c *wire.Client) error {
				p, err := c.Package(ctx, manifest, &wire.HeldManifest{Digest: manifest})
				if err == nil {
					b, err = s.putStatements(manifest, p.Statements)
				}
				return err
			})
			return b, err
		})
		if err != nil && !have {
			return nil, err
		}
	}
	if b == nil {
		if b, err = s.shelf.Get(key); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// statement is one of those, by what follows StatementDir in its key.
func (s *Site) statement(ctx context.Context, rest string) ([]byte, error) {
	hex, file, _ := strings.Cut(rest, "/")
	manifest, err := schema.ParseHex(hex)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	list, err := s.statements(ctx, manifest)
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(strings.TrimSuffix(file, ".json"))
	if err != nil || i < 0 || i >= len(list) {
		return nil, fs.ErrNotExist
	}
	return list[i], nil
}

// Taken keeps a release that is about to be served, and what it was read from.
func (s *Site) Taken(r *origin.Release) {
	s.mu.Lock()
	pending := maps.Clone(s.news.pending)
	fresh := s.release == nil || s.release.Timestamp != r.Timestamp
	s.release, s.news.stamp, s.news.whole = r, nil, false
	s.mu.Unlock()
	err := error(nil)
	for _, key := range slices.Sorted(maps.Keys(pending)) {
		if err = s.shelf.Keep(key, pending[key]); err != nil {
			break
		}
	}
	if err == nil {
		err = s.shelf.Keep(schema.TimestampKey(r.Timestamp), r.Stamp)
	}
	s.noteDisk(err)
	if err != nil {
		return // it is in memory, and is tried again with the next one
	}
	s.mu.Lock()
	for key := range pending {
		delete(s.news.pending, key)
	}
	s.mu.Unlock()
	s.prune(r)
	if s.o.Prefetch && fresh {
		s.work.Go(func() { s.prefetch(s.ctx, r) })
	}
}

// Failed forgets what was read for a release that did not verify.
func (s *Site) Failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news.stamp, s.news.pending, s.news.whole = nil, map[string][]byte{}, true
}

// prune drops what no host of today's release has to do with.
func (s *Site) prune(r *origin.Release) {
	keep := map[string]bool{schema.TreeKey(r.Tree): true}
	for _, list := range r.Targets {
		for _, d := range list {
			keep[schema.TargetKey(d)] = true
		}
	}
	var drop []string
	for _, dir := range []string{schema.TreeDir, schema.TargetDir} {
		for _, key := range s.shelf.Keys(dir) {
			if !keep[key] && !(r.Tree.IsZero() && dir == schema.TreeDir) { // of a site that had no host yet
				drop = append(drop, key)
			}
		}
	}
	versions := map[string][]int64{}
	for _, key := range s.shelf.Keys(schema.MetadataDir) {
		if v, role, ok := origin.ParseName(strings.TrimPrefix(key, schema.MetadataDir)); ok && role != "root" {
			versions[role] = append(versions[role], v)
		}
	}
	for role, list := range versions {
		slices.Sort(list)
		for _, v := range list[:max(0, len(list)-versionsKept)] {
			if v != r.Versions[role] {
				drop = append(drop, schema.MetadataKey(role, v))
			}
		}
	}
	stamps := s.shelf.Keys(schema.TimestampDir)
	for i, key := range stamps {
		v, _ := schema.ParseTimestampKey(key)
		if v > r.Timestamp || v < r.Timestamp && i < len(stamps)-versionsKept { // of one that was taken back, or old
			drop = append(drop, key)
		}
	}
	s.shelf.Drop(drop...)
}

// live are the keys of what hosts are given now.
func (s *Site) live() map[string]bool {
	s.mu.Lock()
	r := s.release
	s.mu.Unlock()
	live := map[string]bool{}
	if r == nil {
		return live
	}
	for _, a := range r.Hosts {
		for _, c := range a.Candidates() {
			key := schema.ManifestKey(c.Manifest)
			if live[key] {
				continue
			}
			live[key], live[statementsKey(c.Manifest)] = true, true
			if b, err := s.shelf.Get(key); err == nil {
				if m, err := schema.DecodeManifest(b, c.Manifest); err == nil {
					for _, ref := range m.Segments() {
						live[schema.SegmentKey(ref.Digest)] = true
					}
				}
			}
		}
	}
	return live
}

// prefetch fetches the packages that hosts are given now.
func (s *Site) prefetch(ctx context.Context, r *origin.Release) {
	for _, host := range slices.Sorted(maps.Keys(r.Hosts)) {
		ctx := store.For(ctx, host)
		b, err := s.small(ctx, schema.ManifestKey(r.Hosts[host].Manifest))
		var m *schema.Manifest
		if err == nil {
			m, err = s.decode(b, r.Hosts[host].Manifest)
		}
		if err != nil {
			s.log.Warn("a package is not fetched before hosts ask for it", "host", host, "error", err)
			if ctx.Err() != nil || errors.Is(err, wire.ErrUnreachable) {
				return
			}
			continue
		}
		for _, ref := range m.Segments() {
			f, err := s.segment(ctx, schema.SegmentKey(ref.Digest), 0)
			if err == nil {
				_, err = io.Copy(io.Discard, f)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				s.log.Warn("a package is not fetched before hosts ask for it", "host", host, "error", err)
				return
			}
		}
	}
}

// measure remembers how long the segments of a manifest are.
func (s *Site) measure(key string, b []byte) {
	if !strings.HasPrefix(key, schema.ManifestDir) {
		return
	}
	if d, err := schema.ParseHex(key[strings.LastIndexByte(key, '/')+1:]); err == nil {
		_, _ = s.decode(b, d) // whoever reads it finds out what is wrong with it
	}
}

// decode reads a manifest, and remembers how long its segments are.
func (s *Site) decode(b []byte, d schema.Digest) (*schema.Manifest, error) {
	m, err := schema.DecodeManifest(b, d)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range m.Segments() {
		s.sizes[ref.Digest] = ref.Size
	}
	return m, nil
}
