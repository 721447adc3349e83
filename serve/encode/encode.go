// Package encode has metadata files in the form that is shortest for who asks: as they are, in gzip, or as the
// difference to what a host holds. Only files that a verified release was read from are encoded, so their number is
// bounded by what was published, and so is the work.
package encode

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/serve/cache"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
)

// Files are the metadata files of a store. Make it with New.
type Files struct {
	store     store.Store
	sum       func(name string) (schema.Digest, bool)
	cache     *cache.Cache[encoding, []byte]
	deflating chan struct{} // bounds how many encodings are computed at once
}

// memory bounds the cache, in bytes.
const memory = 64 << 20

// New reads from st. sum is the digest that a file had when it was verified; ok is false if it was not.
func New(st store.Store, sum func(name string) (d schema.Digest, ok bool)) *Files {
	return &Files{st, sum, cache.New[encoding, []byte](memory), make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

// Deflating runs f when there is a processor for it.
func (f *Files) Deflating(do func()) {
	f.deflating <- struct{}{}
	defer func() { <-f.deflating }()
	do()
}

// encoding names one way in which a metadata file is sent. have is the version that the host holds, 0 if it is sent
// without that.
type encoding struct {
	file string
	have int64
	gzip bool
}

// readTimeout bounds one computation that several requests may wait for, so the first one's end must not end it.
const readTimeout = time.Minute

// File is a file as the store has it. Whether or not it was verified here, a host checks it.
type File struct {
	name     string
	bytes    []byte
	verified bool // these are the bytes that a release was read from
}

// File reads a file, whose bytes must be those that were verified, if they were.
func (f *Files) File(name string, limit int64) (File, error) {
	read := func() ([]byte, int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		b, err := store.Read(ctx, f.store, schema.MetadataDir+name, limit)
		return b, int64(len(b)) + 1, err
	}
	sum, verified := f.sum(name)
	if !verified {
		b, _, err := read()
		return File{name, b, false}, err
	}
	b, err := f.cache.Get(encoding{file: name}, func() ([]byte, int64, error) {
		b, size, err := read()
		if got := schema.DigestOf(b); err == nil && got != sum {
			err = &schema.AlteredError{Object: "metadata file", Want: sum, Got: got}
		}
		return b, size, err
	})
	return File{name, b, true}, err
}

// Content-Encodings of metadata files.
const (
	Gzip  = "gzip"
	Delta = delta.Encoding
)

// Encoded is a file as it is sent; Coding is empty for as it is.
type Encoded struct {
	Bytes  []byte
	Coding string
}

// Encode returns file as the request prefers it. Only verified files are encoded: their number is bounded by what was
// published, and so is the work.
func (f *Files) Encode(r *http.Request, file File, version int64, role string, limit int64) Encoded {
	if !file.verified {
		return Encoded{Bytes: file.bytes}
	}
	if have, err := strconv.ParseInt(r.Header.Get(delta.HaveHeader), 10, 64); err == nil && have > 0 && have < version {
		if e, ok := f.against(file, role, have, limit); ok {
			return e
		}
	}
	if Accepts(r, Gzip) {
		return f.gzipped(file)
	}
	return Encoded{Bytes: file.bytes}
}

// against is the difference of a verified file to the version have of the role, if the store has that and it is
// shorter.
func (f *Files) against(file File, role string, have, limit int64) (Encoded, bool) {
	return f.difference(file, have, func(context.Context) ([]byte, error) {
		old, err := f.File(fmt.Sprintf("%d.%s.json", have, role), limit)
		return old.bytes, err
	})
}

// difference is that of a verified file to what read returns, if it is shorter. have is read's name in the cache.
func (f *Files) difference(file File, have int64, read func(context.Context) ([]byte, error)) (Encoded, bool) {
	b, err := f.cache.Get(encoding{file: file.name, have: have}, func() ([]byte, int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		old, err := read(ctx)
		if err != nil {
			return nil, 0, err
		}
		f.deflating <- struct{}{}
		defer func() { <-f.deflating }()
		b, err := delta.Deflate(file.bytes, old)
		return b, int64(len(b)) + 1, err
	})
	return Encoded{b, Delta}, err == nil && len(b) < len(file.bytes)
}

// gzipped is a verified file in gzip if that is shorter.
func (f *Files) gzipped(file File) Encoded {
	b, err := f.cache.Get(encoding{file: file.name, gzip: true}, func() ([]byte, int64, error) {
		f.deflating <- struct{}{}
		defer func() { <-f.deflating }()
		b, err := Compress(file.bytes, gzip.BestCompression)
		return b, int64(len(b)) + 1, err
	})
	if err != nil || len(b) >= len(file.bytes) {
		return Encoded{Bytes: file.bytes}
	}
	return Encoded{b, Gzip}
}

// writers are used again: each has 0.8 MB, and polls are answered in gzip as long as a rollout is under way.
var writers sync.Map // of *sync.Pool of *gzip.Writer, by level

// Compress is b in gzip.
func Compress(b []byte, level int) ([]byte, error) {
	var out bytes.Buffer
	pool, ok := writers.Load(level)
	if !ok {
		pool, _ = writers.LoadOrStore(level, new(sync.Pool))
	}
	z, ok := pool.(*sync.Pool).Get().(*gzip.Writer)
	if !ok {
		var err error
		if z, err = gzip.NewWriterLevel(&out, level); err != nil {
			return nil, err
		}
	}
	defer pool.(*sync.Pool).Put(z)
	z.Reset(&out)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Accepts reports whether the request names the encoding in Accept-Encoding, other than to exclude it.
func Accepts(r *http.Request, name string) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(header, ",") {
			token, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(token), name) {
				continue
			}
			q, given := strings.CutPrefix(strings.TrimSpace(params), "q=")
			if v, err := strconv.ParseFloat(q, 64); given && err == nil && v == 0 {
				return false
			}
			return true
		}
	}
	return false
}

// Smallest is a verified file as it is shortest for a host that holds the version have of the role.
func (f *Files) Smallest(name, role string, version, have, limit int64) (Encoded, error) {
	file, err := f.File(name, limit)
	if err != nil {
		return Encoded{}, err
	}
	if !file.verified {
		return Encoded{}, fmt.Errorf("%s was not verified", name)
	}
	if have > 0 {
		if e, ok := f.against(file, role, have, limit); ok {
			return e, nil
		}
	}
	return f.gzipped(file), nil
}

// Stamp is the newest timestamp for a host that holds another.
func (f *Files) Stamp(rel *origin.Release, have int64) (Encoded, error) {
	file := File{name: fmt.Sprintf("%d.timestamp.json", rel.Timestamp), bytes: rel.Stamp, verified: true}
	if have <= 0 || have > rel.Timestamp {
		return f.gzipped(file), nil
	}
	e, ok := f.difference(file, have, func(ctx context.Context) ([]byte, error) {
		return store.Read(ctx, f.store, schema.TimestampKey(have), schema.MaxTimestamp)
	})
	if !ok {
		e = f.gzipped(file)
	}
	return e, nil
}

// Policy is the policy for a host that holds the targets of that version, whose policy may be the same. It is found
// through the targets, which are public, and not by a digest that the host names: other targets are not for hosts.
func (f *Files) Policy(policy schema.Digest, targets int64) (e Encoded, lacks bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	read := func(ctx context.Context, d schema.Digest) ([]byte, error) {
		b, err := store.Read(ctx, f.store, schema.TargetKey(d), schema.MaxTarget)
		if got := schema.DigestOf(b); err == nil && got != d {
			err = &schema.AlteredError{Object: "target", Want: d, Got: got}
		}
		return b, err
	}
	before, known := f.policyOf(targets)
	if known && before == policy {
		return e, false, nil
	}
	name := policy.Hex() + "." + schema.PolicyTarget
	b, err := f.cache.Get(encoding{file: name}, func() ([]byte, int64, error) {
		b, err := read(ctx, policy)
		return b, int64(len(b)) + 1, err
	})
	if err != nil {
		return e, true, err
	}
	file := File{name: name, bytes: b, verified: true}
	if known {
		e, ok := f.difference(file, targets, func(ctx context.Context) ([]byte, error) { return read(ctx, before) })
		if ok {
			return e, true, nil
		}
	}
	return f.gzipped(file), true, nil
}

// policyOf is the digest of the policy that targets of that version name.
func (f *Files) policyOf(targets int64) (d schema.Digest, known bool) {
	if targets <= 0 {
		return d, false
	}
	b, err := f.cache.Get(encoding{file: "policy", have: targets}, func() ([]byte, int64, error) {
		file, err := f.File(fmt.Sprintf("%d.%s.json", targets, metadata.TARGETS), schema.MaxTargets)
		if err != nil {
			return nil, 0, err
		}
		var t struct {
			Signed struct {
				Targets map[string]struct {
					Hashes map[string]string `json:"hashes"`
				} `json:"targets"`
			} `json:"signed"`
		}
		if err := schema.Decode(file.bytes, &t); err != nil {
			return nil, 0, err
		}
		d, err := schema.ParseHex(t.Signed.Targets[schema.PolicyTarget].Hashes["sha256"])
		return d[:], int64(len(d)) + 1, err
	})
	if err != nil {
		return d, false
	}
	return schema.Digest(b), true
}

// MaxNews is how many bytes of files one poll brings. What does not fit is left for the host to ask for.
const MaxNews = schema.MaxWire / 2

// News are the files that the host lacks of rel, in the order in which it needs them. Of the bins it is the host's
// own, which is the only one that it may read.
func (f *Files) News(rel *origin.Release, host string, held schema.MetadataVersions, log *slog.Logger,
) (files []schema.PollFile) {
	room := MaxNews
	add := func(name string, e Encoded, have int64, err error) {
		if err != nil {
			log.Debug("a poll goes without a file", "file", name, "error", err) // asking for it says what is wrong
			return
		}
		if len(e.Bytes) > room {
			return
		}
		room -= len(e.Bytes)
		one := schema.PollFile{Name: name, Data: e.Bytes, Gzip: e.Coding == Gzip}
		if e.Coding == Delta {
			one.Against = have
		}
		files = append(files, one)
	}
	role := func(role string, version, have int64) {
		if version <= have {
			return
		}
		name := fmt.Sprintf("%d.%s.json", version, role)
		limit, _ := rel.RoleLimit(role, host)
		e, err := f.Smallest(name, role, version, have, limit)
		add(name, e, have, err)
	}
	for v := held.Root + 1; held.Root > 0 && v <= rel.Root && room > 0; v++ {
		role(metadata.ROOT, v, v-1)
	}
	if held.Timestamp != rel.Timestamp {
		e, err := f.Stamp(rel, held.Timestamp)
		add("timestamp.json", e, held.Timestamp, err)
	}
	role(metadata.SNAPSHOT, rel.Versions[metadata.SNAPSHOT], held.Snapshot)
	role(metadata.TARGETS, rel.Versions[metadata.TARGETS], held.Targets)
	if policy := rel.Targets[schema.PolicyTarget]; len(policy) > 0 && held.Targets < rel.Versions[metadata.TARGETS] {
		if e, lacks, err := f.Policy(policy[0], held.Targets); lacks {
			add(policy[0].Hex()+"."+schema.PolicyTarget, e, held.Targets, err)
		}
	}
	bin := rel.BinOf(host)
	role(bin, rel.Versions[bin], held.Bin)
	return files
}
