package status

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// contentSecurity lets a page use what comes from this server as a file, and nothing that is written into it. Scripts
// cannot make HTML from text.
const contentSecurity = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'"

// protect sets what every answer of this package has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurity)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

const cacheNever = "no-store"

// cacheAsk: a browser may keep a page for the one who asked, and asks each time whether it still holds.
const cacheAsk = "private, no-cache"

var zippers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func zipped(b []byte) []byte {
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	var out bytes.Buffer
	out.Grow(len(b) / 4)
	z.Reset(&out)
	_, _ = z.Write(b) // a buffer takes all
	_ = z.Close()
	return out.Bytes()
}

// leastZipped is what is not worth the work.
const leastZipped = 1400

// write answers with b. gzipped is b in gzip; nil makes it if the peer takes it.
func write(w http.ResponseWriter, r *http.Request, status int, b, gzipped []byte) {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	if len(b) >= leastZipped && takesGzip(r) {
		if gzipped == nil {
			gzipped = zipped(b)
		}
		h.Set("Content-Encoding", "gzip")
		b = gzipped
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // a peer that is gone is no error of ours
	}
}

func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == "gzip" {
			q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			return !ok || strings.Trim(q, "0.") != ""
		}
	}
	return false
}

// answerTagged answers with a page, or with 304 if the peer has it. The time at which it was made is no part of what
// is compared.
func answerTagged(w http.ResponseWriter, r *http.Request, b []byte) {
	sum := sha256.Sum256(withoutAsOf(b))
	tag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", cacheAsk)
	for have := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(have), "W/") == strings.TrimPrefix(tag, "W/") {
			w.Header().Add("Vary", "Accept-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	write(w, r, http.StatusOK, b, nil)
}

// asOfID marks the element with the time of the page; nothing from elsewhere can spell it, as quotes are escaped.
const asOfID = ` id="as-of"`

func withoutAsOf(b []byte) []byte {
	start := bytes.LastIndex(b, []byte(asOfID))
	if start < 0 {
		return b
	}
	length := bytes.Index(b[start:], []byte("</time>"))
	if length < 0 {
		return b
	}
	return append(bytes.Clone(b[:start]), b[start+length:]...)
}
