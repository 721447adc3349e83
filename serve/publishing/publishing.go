// Package publishing offers a server's store to whoever publishes through it: what `bakehouse serve` answers to package
// remote, as a user with the permission publish: every object may be read, and created if it is not there. None is
// replaced or deleted.
//
// A publisher is trusted with availability, not with integrity: whoever reads the store verifies it. What an object's
// key promises is held all the same, so that no mistake on the way and no thief of the password puts something there
// that cannot be taken out again: see Rules.
package publishing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
	"bakehouse/serve/store/remote"
)

// How long a body may take: so long, and the time for its size at the slowest rate.
const (
	bodyTimeout = 20 * time.Second
	slowest     = 16 << 10 // bytes a second
)

// Handler answers below schema.StorePath.
type Handler struct {
	Store store.Store
	Log   *slog.Logger
	// Admit reads what somebody wants to create as the object of that key; what it refuses is a *Refused.
	Admit func(ctx context.Context, key string, r io.Reader) (io.Reader, error)
	// Created is told of each object that a request created.
	Created func(r *http.Request, key string)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(remote.Header, remote.Version)
	w.Header().Set("Cache-Control", "no-store")
	key, object := strings.CutPrefix(r.URL.Path, remote.ObjectsPath)
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case object && schema.CheckKey(key) != nil:
		problem(w, http.StatusBadRequest, "malformed store key", "")
	case object && r.Method == http.MethodPut:
		h.put(w, r, key)
	case object && read:
		h.get(w, r, key)
	case !object && read && r.URL.Path == remote.ListPath:
		h.list(w, r)
	case !object && read && r.URL.Path == remote.NowPath:
		now, err := h.Store.Now(r.Context())
		h.answer(w, r, remote.Clock{Now: now}, err)
	case !object && read && r.URL.Path == remote.StraysPath:
		paths, err := h.Store.Strays(r.Context())
		h.answer(w, r, remote.Strays{Paths: paths[:min(len(paths), remote.MaxStrays)]}, err)
	case object:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		problem(w, http.StatusMethodNotAllowed, "objects are created and read through a server, and not deleted",
			"run bakehouse store gc where the server's store is")
	default:
		w.Header().Del(remote.Header)
		problem(w, http.StatusNotFound, "not found", "")
	}
}

func problem(w http.ResponseWriter, status int, text, hint string) {
	writeJSON(w, status, schema.Problem{Error: text, Hint: hint})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	// The time to write begins now, however long the body took to come.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a peer that is gone is no error of ours
}

// answer answers with v, or with what the store failed at.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		h.trouble(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// trouble answers when the store fails.
func (h *Handler) trouble(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for an answer
	}
	h.Log.Error("the store cannot do what a publisher asks for", "error", err, "path", plain.Line(r.URL.Path, 400))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		problem(w, http.StatusInsufficientStorage, "the server's store is full",
			"free some space at the server or enlarge its file system, then run again; nothing is damaged")
		return
	}
	w.Header().Set("Retry-After", "2")
	problem(w, http.StatusServiceUnavailable, "the server's store does not answer",
		"the server's log says why; nothing is damaged, and it can be run again")
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request, key string) {
	e, err := h.Store.Stat(r.Context(), key)
	if errors.Is(err, fs.ErrNotExist) {
		problem(w, http.StatusNotFound, "no such object", "")
		return
	}
	if err != nil {
		h.trouble(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	in := store.Seeker(r.Context(), h.Store, key, e.Size)
	defer in.Close()
	http.ServeContent(w, r, "", e.Time, in)
}

func (h *Handler) list(w http.ResponseWriter, r *http.Request) {
	var page remote.Listing
	q := r.URL.Query()
	for e, err := range h.Store.List(r.Context(), q.Get("prefix"), q.Get("after")) {
		if err != nil {
			h.trouble(w, r, err)
			return
		}
		if page.More = len(page.Entries) == remote.Page; page.More {
			break
		}
		page.Entries = append(page.Entries, remote.Entry{Key: e.Key, Size: e.Size, Time: e.Time})
	}
	writeJSON(w, http.StatusOK, page)
}

// bodyError is of a body that did not come whole.
type bodyError struct{ error }

func (b *bodyError) Unwrap() error { return b.error }

// body reads a request's body and compares it with its digest at the end.
type body struct {
	r    io.Reader
	h    hash.Hash
	want schema.Digest
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.h.Write(p[:n])
	switch {
	case err == io.EOF && schema.Digest(b.h.Sum(nil)) != b.want:
		return n, &bodyError{errors.New("the body is not that of the digest sent with it")}
	case err != nil && err != io.EOF:
		return n, &bodyError{errors.New("the body did not come whole, or in time")}
	}
	return n, err
}

func (h *Handler) put(w http.ResponseWriter, r *http.Request, key string) {
	most, err := kinds.Max(key)
	digest, ok := remote.DigestOf(r.Header)
	switch {
	case err != nil:
		problem(w, http.StatusForbidden, err.Error(), "publish with the version of the server, or update the server")
		return
	case r.Header.Get("If-None-Match") != "*":
		problem(w, http.StatusPreconditionRequired, "objects are never replaced: send If-None-Match: *", "")
		return
	case !ok:
		problem(w, http.StatusBadRequest, "no SHA-256 of the body: send Content-Digest", "")
		return
	case r.ContentLength < 0:
		problem(w, http.StatusLengthRequired, "send Content-Length", "")
		return
	case r.ContentLength > most:
		problem(w, http.StatusRequestEntityTooLarge, key+": larger than an object of its kind may be", "")
		return
	}
	if _, err := h.Store.Stat(r.Context(), key); err == nil {
		problem(w, http.StatusPreconditionFailed, key+" is there already", "")
		return
	} else if !errors.Is(err, fs.ErrNotExist) {
		h.trouble(w, r, err)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(
		time.Now().Add(bodyTimeout + time.Duration(r.ContentLength/slowest)*time.Second))
	in, err := h.Admit(r.Context(), key, &body{io.LimitReader(r.Body, r.ContentLength), sha256.New(), digest})
	if err == nil {
		err = h.Store.Create(r.Context(), key, in)
	}
	h.created(w, r, key, err)
}

// created answers what became of an object.
func (h *Handler) created(w http.ResponseWriter, r *http.Request, key string, err error) {
	var refused *Refused
	var body *bodyError
	switch {
	case err == nil:
		h.Created(r, key)
		writeJSON(w, http.StatusCreated, struct{}{})
	case errors.As(err, &refused):
		problem(w, http.StatusUnprocessableEntity, plain.Lines(refused.Error(), plain.MaxError), fault.HintOf(err))
	case errors.As(err, &body):
		w.Header().Set("Connection", "close")
		problem(w, http.StatusRequestTimeout, body.Error(), "run it again")
	case errors.Is(err, fs.ErrExist):
		problem(w, http.StatusPreconditionFailed, key+" is there already", "")
	case strings.HasPrefix(key, schema.LockDir) && fault.HintOf(err) != "" && !isTrouble(err):
		problem(w, http.StatusLocked, err.Error(), fault.HintOf(err))
	default:
		h.trouble(w, r, err)
	}
}

// isTrouble reports whether the store failed, and not only said that the lock is another's.
func isTrouble(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number)
}

// Refused is why an object is not admitted.
type Refused struct{ error }

func (r *Refused) Unwrap() error { return r.error }

func refuse(err error) error { return &Refused{err} }

// refusing makes what a reader finds wrong a *Refused, unless the body did not come.
type refusing struct{ r io.Reader }

func (c refusing) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		err = refusal(err)
	}
	return n, err
}

func refusal(err error) error {
	if body := (*bodyError)(nil); errors.As(err, &body) {
		return err
	}
	return refuse(err)
}

// whole reads all of r, which is bounded.
func whole(r io.Reader) ([]byte, io.Reader, error) {
	b, err := io.ReadAll(r)
	return b, bytes.NewReader(b), err
}
