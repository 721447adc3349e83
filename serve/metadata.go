package serve

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/delta"
	"bakehouse/schema/tree"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
)

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
	file, err := s.metadata.File(name, limit)
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
	e := s.metadata.Encode(r, file, version, role, limit)
	if e.Coding != "" {
		x.Header().Set("Content-Encoding", e.Coding)
	}
	x.body(http.StatusOK, "application/json", e.Bytes)
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

// storeTrouble logs what the store failed to deliver although a host may have it.
func (s *Server) storeTrouble(what, name string, err error) {
	s.log.Error("the store fails to deliver", "object", what, "name", name, "error", err, "hint", "run bakehouse store fsck")
}
