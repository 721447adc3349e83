package serve

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/encode"
	"bakehouse/serve/metrics"
	"bakehouse/serve/tidy"
)

// How long a peer may take. A reader must take each write of at most 32 KiB within writeTimeout, so a download of any
// length is possible but a stalled one ends; a request's body must arrive within bodyTimeout.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 20 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// exchange is one request and its response. Handlers get it as their ResponseWriter.
type exchange struct {
	http.ResponseWriter
	control *http.ResponseController
	who     string // the authenticated host or user, for the log
	site    string // through which it came; empty: directly
	status  int
	written int64
}

// Unwrap serves http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	_ = x.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not supported by test recorders only
	n, err := x.ResponseWriter.Write(b)
	x.written += int64(n)
	return n, err
}

// quiet are the paths of what comes all the time, and is counted by metrics; so do the objects of who publishes.
var quiet = map[string]bool{schema.HealthPath: true, schema.ReadyPath: true, schema.MetricsPath: true,
	schema.PollPath: true}

// exchanges wraps next: deadlines before, a log line and counters after.
func exchanges(log *slog.Logger, t timeouts, count *metrics.Requests, next func(*exchange, *http.Request),
) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{ResponseWriter: w, control: http.NewResponseController(w)}
		_ = x.control.SetWriteDeadline(start.Add(writeTimeout))
		if r.ContentLength != 0 {
			// Whether or not a handler reads the body, net/http does before it answers the next request.
			_ = x.control.SetReadDeadline(start.Add(t.body))
		}
		aborted := true
		defer func() { // also when a handler aborts the connection by a panic
			level := slog.LevelInfo
			often := quiet[r.URL.Path] || strings.HasPrefix(r.URL.Path, schema.StorePath)
			if often && x.status < http.StatusBadRequest {
				level = slog.LevelDebug
			}
			count.Add(r.Pattern, x.status, time.Since(start), x.written)
			log.LogAttrs(r.Context(), level, "request", slog.String("method", r.Method),
				slog.String("path", tidy.Cut(r.URL.Path, 400)),
				slog.Int("status", x.status), slog.Int64("bytes", x.written), slog.Duration("took", time.Since(start)),
				slog.String("who", x.who), slog.String("remote", r.RemoteAddr), slog.Bool("aborted", aborted))
		}()
		next(x, r)
		aborted = false
	})
}

// answer writes v as JSON.
func (x *exchange) answer(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	x.body(status, "application/json", b)
}

// answerTo answers 200 with v in gzip, if the request takes it: what is compressed already is in base64 for JSON's
// sake, and the statements of several keys repeat one another.
func (x *exchange) answerTo(r *http.Request, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	const worthIt = 200 // bytes: most answers to polls are shorter
	if len(b) > worthIt && encode.Accepts(r, encode.Gzip) {
		if z, err := encode.Compress(b, gzip.DefaultCompression); err == nil && len(z) < len(b) {
			x.Header().Set("Content-Encoding", encode.Gzip)
			b = z
		}
	}
	x.body(http.StatusOK, "application/json", b)
}

func (x *exchange) body(status int, contentType string, b []byte) {
	x.Header().Set("Content-Type", contentType)
	x.Header().Set("Content-Length", strconv.Itoa(len(b)))
	x.WriteHeader(status)
	_, _ = x.Write(b) // a peer that is gone is no error of ours
}

// problem answers anything but a success.
func (x *exchange) problem(status int, text, hint string) {
	x.answer(status, schema.Problem{Error: text, Hint: hint})
}

// notFound is the one answer to whatever may not be read, whether it exists or not.
func (x *exchange) notFound() { x.problem(http.StatusNotFound, "not found", "") }

// unavailable answers when the server itself is broken; what broke stands in the log only.
func (x *exchange) unavailable() {
	x.Header().Set("Retry-After", "60")
	x.problem(http.StatusServiceUnavailable, "the server cannot answer this now",
		"its log says why; ask the operator of the server")
}

// decode reads a JSON body of at most schema.MaxWire bytes into v, or answers the request and returns false.
func (x *exchange) decode(r *http.Request, v any) bool {
	b, err := io.ReadAll(http.MaxBytesReader(x.ResponseWriter, r.Body, schema.MaxWire))
	var tooLarge *http.MaxBytesError
	var netErr net.Error
	switch {
	case errors.As(err, &tooLarge):
		x.problem(http.StatusRequestEntityTooLarge,
			"the request is larger than "+strconv.Itoa(schema.MaxWire)+" bytes", "")
		return false
	case errors.As(err, &netErr) && netErr.Timeout():
		x.Header().Set("Connection", "close")
		x.problem(http.StatusRequestTimeout, "the request's body did not arrive in time", "")
		return false
	case err != nil:
		x.problem(http.StatusBadRequest, "the request's body could not be read", "")
		return false
	}
	if err := schema.Decode(b, v); err != nil {
		x.problem(http.StatusBadRequest, "the request is not understood: "+tidy.Clean(err.Error(), 300), "")
		return false
	}
	return true
}

// agree picks the version in which a request is answered, or refuses the request and returns false.
func (s *Server) agree(x *exchange, host schema.Versions) (version int, ok bool) {
	return s.agreeWith(x, host, "host", "update the host program: install this host's newest package manually",
		"update the server before the hosts")
}

// agreeWithSite is agree for a site of this centre.
func (s *Server) agreeWithSite(x *exchange, site schema.Versions) (version int, ok bool) {
	return s.agreeWith(x, site, "site", "update the site's program: a site may be one version behind its centre",
		"update the centre before its sites")
}

func (s *Server) agreeWith(x *exchange, peer schema.Versions, what, behind, ahead string) (version int, ok bool) {
	if version, ok = s.speaks.Common(peer); ok {
		return version, true
	}
	hint := behind
	if peer.Min > s.speaks.Max {
		hint = ahead
	}
	x.problem(http.StatusBadRequest,
		fmt.Sprintf("the %s speaks %s of the protocol, this server %s", what, peer, s.speaks), hint)
	return 0, false
}
