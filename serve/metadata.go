package serve

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/tree"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
)

// encoding names one way in which a metadata file is sent. have is the version that the host holds, 0 if it is sent
// without that.
type encoding struct {
	file string
	have int64
	gzip bool
}

// readTimeout bounds one computation that several requests may wait for, so the first one's end must not end it.
const readTimeout = time.Minute

// Immutable objects may be kept by a host's cache, never by a shared one.
const (
	cacheForever = "private, max-age=31536000, immutable"
	cacheNever   = "no-store"
)

// openMetadata and openTarget report whether anybody may read what a request asks for.
func openMetadata(r *http.Request) bool { return schema.OpenMetadata(r.PathValue("name")) }

func openTarget(r *http.Request) bool {
	prefix, name, _ := strings.Cut(r.PathValue("path"), ".")
	_, err := schema.ParseHex(prefix)
	return err == nil && name == schema.PolicyTarget
}

func (s *Server) serveMetadata(x *exchange, r *http.Request, host string) {
	rel, _ := s.releases.Now()
	name := r.PathValue("name")
	if name == "timestamp.json" {
		x.Header().Set("Cache-Control", cacheNever)
		x.body(http.StatusOK, "application/json", rel.Stamp)
		return
	}
	version, role, ok := origin.ParseName(name)
	if !ok {
		x.notFound()
		return
	}
	limit, ok := rel.RoleLimit(role, host)
	if !ok || role == "root" && version > rel.Root {
		// A later root stands in the store shortly before what its keys have signed, and hosts shall not be in between.
		x.notFound()
		return
	}
	if _, current := s.releases.Sum(name); host == "" && role != "root" && !current {
		x.notFound() // what is in memory, and nothing that strangers could have us read from the store
		return
	}
	file, err := s.metadataFile(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		x.notFound()
		return
	}
	if err != nil {
		s.storeTrouble("metadata", name, err)
		x.unavailable()
		return
	}
	x.Header().Set("Cache-Control", cacheForever)
	x.Header().Set("Vary", "Accept-Encoding, "+delta.HaveHeader)
	e := s.encode(r, file, version, role, limit)
	if e.coding != "" {
		x.Header().Set("Content-Encoding", e.coding)
	}
	x.body(http.StatusOK, "application/json", e.bytes)
}

// serveTree answers the lines of the snapshot's tree: for those who read more than one host's bin, such as a site.
func (s *Server) serveTree(x *exchange, r *http.Request, _ string) {
	rel, _ := s.releases.Now()
	d, ok := digestIn(x, r)
	if !ok {
		return
	}
	if d != rel.Tree {
		x.notFound()
		return
	}
	b, err := store.Read(r.Context(), s.store, schema.TreeKey(d), schema.MaxTree)
	if err == nil {
		_, err = tree.Decode(b, d)
	}
	if err != nil {
		s.storeTrouble("tree", d.Hex(), err)
		x.unavailable()
		return
	}
	x.Header().Set("Cache-Control", cacheForever)
	x.body(http.StatusOK, "text/plain; charset=utf-8", b)
}

// metadataFile is a file as the store has it. verified says that these are the bytes that a release was read from;
// a host checks them in any case.
type metadataFile struct {
	name     string
	bytes    []byte
	verified bool
}

// metadataFile reads a file, whose bytes must be those that were verified, if they were.
func (s *Server) metadataFile(name string, limit int64) (metadataFile, error) {
	read := func() ([]byte, int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		b, err := store.Read(ctx, s.store, schema.MetadataDir+name, limit)
		return b, int64(len(b)) + 1, err
	}
	sum, verified := s.releases.Sum(name)
	if !verified {
		b, _, err := read()
		return metadataFile{name, b, false}, err
	}
	b, err := s.metadata.Get(encoding{file: name}, func() ([]byte, int64, error) {
		b, size, err := read()
		if got := schema.DigestOf(b); err == nil && got != sum {
			err = &schema.AlteredError{Object: "metadata file", Want: sum, Got: got}
		}
		return b, size, err
	})
	return metadataFile{name, b, true}, err
}

// Content-Encodings of metadata files.
const (
	codingGzip  = "gzip"
	codingDelta = delta.Encoding
)

// encoded is a file as it is sent; coding is empty for as it is.
type encoded struct {
	bytes  []byte
	coding string
}

// encode returns file as the request prefers it. Only verified files are encoded: their number is bounded by what was
// published, and so is the work.
func (s *Server) encode(r *http.Request, file metadataFile, version int64, role string, limit int64) encoded {
	if !file.verified {
		return encoded{bytes: file.bytes}
	}
	if have, err := strconv.ParseInt(r.Header.Get(delta.HaveHeader), 10, 64); err == nil && have > 0 && have < version {
		if e, ok := s.against(file, role, have, limit); ok {
			return e
		}
	}
	if accepts(r, codingGzip) {
		return s.gzipped(file)
	}
	return encoded{bytes: file.bytes}
}

// against is the difference of a verified file to the version have of the role, if the store has that and it is
// shorter.
func (s *Server) against(file metadataFile, role string, have, limit int64) (encoded, bool) {
	return s.difference(file, have, func(context.Context) ([]byte, error) {
		old, err := s.metadataFile(fmt.Sprintf("%d.%s.json", have, role), limit)
		return old.bytes, err
	})
}

// difference is that of a verified file to what read returns, if it is shorter. have is read's name in the cache.
func (s *Server) difference(file metadataFile, have int64, read func(context.Context) ([]byte, error)) (encoded, bool) {
	b, err := s.metadata.Get(encoding{file: file.name, have: have}, func() ([]byte, int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		old, err := read(ctx)
		if err != nil {
			return nil, 0, err
		}
		s.deflating <- struct{}{}
		defer func() { <-s.deflating }()
		b, err := delta.Deflate(file.bytes, old)
		return b, int64(len(b)) + 1, err
	})
	return encoded{b, codingDelta}, err == nil && len(b) < len(file.bytes)
}

// gzipped is a verified file in gzip if that is shorter.
func (s *Server) gzipped(file metadataFile) encoded {
	b, err := s.metadata.Get(encoding{file: file.name, gzip: true}, func() ([]byte, int64, error) {
		s.deflating <- struct{}{}
		defer func() { <-s.deflating }()
		b, err := gzipped(file.bytes, gzip.BestCompression)
		return b, int64(len(b)) + 1, err
	})
	if err != nil || len(b) >= len(file.bytes) {
		return encoded{bytes: file.bytes}
	}
	return encoded{b, codingGzip}
}

func gzipped(b []byte, level int) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// accepts reports whether the request names the encoding in Accept-Encoding, other than to exclude it.
func accepts(r *http.Request, name string) bool {
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

// storeTrouble logs what the store failed to deliver although a host may have it.
func (s *Server) storeTrouble(what, name string, err error) {
	s.log.Error("the store fails to deliver", "object", what, "name", name, "error", err, "hint", "run bakehouse store fsck")
}
