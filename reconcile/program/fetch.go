package program

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// maxFetched bounds a fetched file, in bytes.
const maxFetched = 2 << 30

// fetchTime bounds one download, and maxRedirects the answers that only lead on.
const (
	fetchTime    = 15 * time.Minute
	maxRedirects = 5
)

// web fetches what plugins pin. It follows no redirect that gives up TLS: the digest would still hold, but what is
// fetched, and what it is asked with, would be everyone's to read.
var web = &http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("redirected from https to " + req.URL.Scheme)
	}
	return nil
}}

// fetched opens a file that a plugin takes from a URL. Only the first pass that packs it asks the URL; from then on it
// is in the store. What comes from either is used if it has the digest that the plugin pins, and refused otherwise.
func (s *Sources) fetched(f fleet.File) (io.ReadCloser, error) {
	key := schema.SourceFileKey(f.Pin())
	r, err := s.store.Open(s.ctx, key)
	if !errors.Is(err, fs.ErrNotExist) {
		return checked(r, f.Pin()), err
	}
	g := lookup(s, s.urls, f.Pin())
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.done {
		if err := s.fetch(f, key); err != nil {
			return nil, fmt.Errorf("%s: %w", f.URL, err)
		}
		g.done = true
	}
	r, err = s.store.Open(s.ctx, key)
	return checked(r, f.Pin()), err
}

// checked refuses, at its end, what has another digest.
func checked(r io.ReadCloser, want schema.Digest) io.ReadCloser {
	return &checkedReader{r, want, sha256.New()}
}

type checkedReader struct {
	io.ReadCloser
	want schema.Digest
	sum  hash.Hash
}

func (c *checkedReader) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.sum.Write(b[:n])
	if err != io.EOF {
		return n, err
	}
	if got := schema.Digest(c.sum.Sum(nil)); got != c.want {
		err = fault.Refuse(&schema.AlteredError{Object: "file in the store", Want: c.want, Got: got},
			"nothing is built on a store that changed; `bakehouse store fsck` lists what is wrong in it")
	}
	return n, err
}

// fetch puts the file into the store, after it is whole and has its digest.
func (s *Sources) fetch(f fleet.File, key string) error {
	ctx, cancel := context.WithTimeout(s.ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity") // the digest is over the file as it lies there
	if s.places.Progress != nil {
		fmt.Fprintf(s.places.Progress(), "fetching %s\n", f.URL)
	}
	resp, err := web.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the caller names the URL
		}
		return fault.Hint(err, "the machine that runs reconcile must reach the URL once; or put the file into the repo")
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode != http.StatusOK:
		return fault.Hint(fmt.Errorf("the server answers %s", resp.Status),
			"correct the URL at %s, or put the file into the repo", f.Source)
	case resp.ContentLength > s.most:
		return fmt.Errorf("has %d bytes; at most %d are fetched", resp.ContentLength, s.most)
	}
	tmp, err := os.CreateTemp("", "bakehouse-fetch-*")
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		os.Remove(tmp.Name())
	}()
	n, err := io.Copy(tmp, io.LimitReader(resp.Body, s.most+1))
	switch {
	case err == io.ErrUnexpectedEOF:
		return fault.Hint(fmt.Errorf("the server stopped after %d bytes", n), "run the command again")
	case err != nil:
		return fault.Hint(err, "run the command again")
	case n > s.most:
		return fmt.Errorf("has more than %d bytes", s.most)
	}
	got, pointer, err := sourcefile.Digest(io.NewSectionReader(tmp, 0, n))
	switch {
	case err != nil:
		return err
	case pointer:
		return errors.New("is a Git LFS pointer, not the file itself")
	case got != f.Pin():
		return fault.Refuse(fmt.Errorf("has digest %s, the plugin pins %s", got, f.Pin()),
			"find out why it changed before you pin the new digest at %s", f.Source)
	}
	err = s.store.Create(s.ctx, key, io.NewSectionReader(tmp, 0, n))
	if errors.Is(err, fs.ErrExist) {
		return nil // another pass was quicker
	}
	return err
}
