package trust

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// Repository is the client of any TUF repository, not only a fleet's: named delegations, any target, no policy. It is the
// same walk with the same checks, so what shows a Repository to conform shows it of the Client that hosts run. It is for
// one goroutine.
type Repository struct {
	*walker
	set *trustedmetadata.TrustedMetadata // of the last Refresh
}

// TargetSource opens targets. The path is where the repository serves the target: "dir/HASH.name" with consistent
// snapshots, else the target's own.
type TargetSource interface {
	MetadataSource
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// OpenRepository makes a client that remembers in the directory dir (created if absent), with a ROLE.json for each role
// as other TUF clients keep them. root is the root to trust; nil if one was given before. now is time.Now if nil.
func OpenRepository(dir string, root []byte, now func() time.Time) (*Repository, error) {
	return openRepository(dir, root, now, durable.Disk{})
}

func openRepository(dir string, root []byte, now func() time.Time, disk durable.Disk) (*Repository, error) {
	w, err := newWalker(dir, root, now, disk, false)
	if err != nil {
		return nil, err
	}
	if w.held = w.dir.Read(timestampFile, schema.MaxTimestamp); w.held != nil {
		// If marks were lost, they are read off what is held. Whether that verifies is for Refresh to say.
		_, _ = w.walk(context.Background(), nil, w.held)
	}
	return &Repository{walker: w}, w.save()
}

// Refresh brings the metadata up to date. If it fails, what was verified before the failure counts and is kept.
func (r *Repository) Refresh(ctx context.Context, src MetadataSource) error {
	to, err := r.refresh(ctx, src, nil)
	r.set = nil
	if err == nil {
		r.set = to.set
	}
	return errors.Join(err, r.save())
}

// Find says what is signed of a target, after Refresh; ErrNoTarget if no role that may list it does.
func (r *Repository) Find(ctx context.Context, src MetadataSource, target string) (*metadata.TargetFiles, error) {
	if r.set == nil {
		return nil, ErrNotLoaded
	}
	t, err := find(ctx, target, func(ctx context.Context, role, delegator string) (*metadata.Metadata[metadata.TargetsType], error) {
		if role == metadata.TARGETS && delegator == metadata.ROOT {
			return r.set.Targets[role], nil
		}
		by, err := delegated(r.set.Targets[delegator], role)
		if err != nil {
			return nil, err
		}
		// Also if another delegator's word for it was taken before: the directory holds it, so that costs no request.
		_, err = r.takeRole(ctx, src, r.set, role, delegator, by)
		return r.set.Targets[role], err
	})
	return t, errors.Join(err, r.save())
}

// Download finds a target and puts it into dir, under its name quoted as in a URL, unless it is there already. It returns
// the file's path, and whether it had to be fetched.
func (r *Repository) Download(ctx context.Context, src TargetSource, target, dir string) (file string, fetched bool, err error) {
	t, err := r.Find(ctx, src, target)
	if err != nil {
		return "", false, err
	}
	name := quoted(target)
	if name == "" || name == "." || name == ".." {
		return "", false, refuse("target %q: not usable as a file name", target)
	}
	file = filepath.Join(dir, name)
	whole, err := newWholeReader(nil, target, t)
	if err != nil {
		return "", false, err
	}
	if f, err := os.Open(file); err == nil {
		whole.r = f
		_, err = io.Copy(io.Discard, whole)
		f.Close()
		if err == nil {
			return file, false, nil
		}
	}
	at := target
	if r.set.Root.Signed.ConsistentSnapshot {
		folder, base := path.Split(target)
		at = folder + whole.prefix + "." + base
	}
	body, err := src.Open(ctx, at)
	if err != nil {
		return "", false, unreachable("target "+target, err)
	}
	defer body.Close()
	if whole, err = newWholeReader(body, target, t); err != nil {
		return "", false, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	return file, true, r.dir.Disk.WriteFrom(file, whole, 0o644)
}

// wholeReader reads a target and fails instead of ending if it is not exactly the signed one, so that nothing of it is
// kept. At no time is it held in memory.
type wholeReader struct {
	r      io.Reader
	target string
	left   int64
	sums   map[string]hash.Hash
	want   metadata.Hashes
	prefix string // the hash in the name under which it is served
}

func newWholeReader(r io.Reader, target string, t *metadata.TargetFiles) (*wholeReader, error) {
	w := &wholeReader{r: r, target: target, left: t.Length, sums: map[string]hash.Hash{}, want: t.Hashes}
	for _, known := range []struct {
		name string
		make func() hash.Hash
	}{{"sha512", sha512.New}, {"sha256", sha256.New}} {
		if h := t.Hashes[known.name]; h != nil {
			w.sums[known.name] = known.make()
			w.prefix = hex.EncodeToString(h)
		}
	}
	if len(w.sums) == 0 || len(w.sums) != len(t.Hashes) || t.Length < 0 {
		return nil, refuse("target %s: not a length and hashes of known kinds", target)
	}
	return w, nil
}

func (w *wholeReader) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	for _, h := range w.sums {
		h.Write(b[:n])
	}
	if w.left -= int64(n); w.left < 0 {
		return 0, refuse("target %s: longer than the signed length", w.target)
	}
	if err != io.EOF {
		return n, err
	}
	if w.left > 0 {
		return n, fmt.Errorf("target %s: %w: %d bytes short", w.target, ErrUnreachable, w.left)
	}
	for name, h := range w.sums {
		if string(h.Sum(nil)) != string(w.want[name]) {
			return n, refuse("target %s: another %s than the signed one", w.target, name)
		}
	}
	return n, io.EOF
}
