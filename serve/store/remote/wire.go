package remote

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"bakehouse/schema"
)

// Paths below schema.StorePath. Whoever asks is a user with the permission publish.
const (
	ObjectsPath = schema.StorePath + "objects/" // GET (ranges), HEAD, PUT with If-None-Match: *
	ListPath    = schema.StorePath + "list"     // GET ?prefix=&after=: Listing
	NowPath     = schema.StorePath + "now"      // GET: Clock
	StraysPath  = schema.StorePath + "strays"   // GET: Strays
)

// Header is in every answer of a server that offers its store, so that a 404 that an object is not there is told from
// one of a server, or of a proxy, that knows no store.
const (
	Header  = "Bakehouse-Store"
	Version = "1"
)

// Listing is a page of a listing. More: there are others after its last.
type Listing struct {
	Entries []Entry `json:"entries"`
	More    bool    `json:"more,omitempty"`
}

// Page is how many entries a page has at most. MaxListing is room for them: keys are at most 255 bytes.
const (
	Page       = 1000
	MaxListing = Page * 400
)

// Entry is a store.Entry.
type Entry struct {
	Key  string    `json:"key"`
	Size int64     `json:"size"`
	Time time.Time `json:"time,omitzero"`
}

// Clock is the time by the clock that dates the entries.
type Clock struct {
	Now time.Time `json:"now"`
}

// Strays are paths that are no objects, the first MaxStrays of them.
type Strays struct {
	Paths []string `json:"paths"`
}

// MaxStrays bounds a server's answer.
const MaxStrays = 1000

// digestHeader is RFC 9530's: the digest of the whole body of a PUT.
const digestHeader = "Content-Digest"

// SetDigest says in a header what the body's digest is.
func SetDigest(h http.Header, d schema.Digest) {
	h.Set(digestHeader, "sha-256=:"+base64.StdEncoding.EncodeToString(d[:])+":")
}

// DigestOf reads what SetDigest wrote.
func DigestOf(h http.Header) (d schema.Digest, ok bool) {
	text, ok := strings.CutPrefix(h.Get(digestHeader), "sha-256=:")
	text, end := strings.CutSuffix(text, ":")
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || !end || err != nil || len(b) != sha256.Size {
		return d, false
	}
	return schema.Digest(b), true
}
