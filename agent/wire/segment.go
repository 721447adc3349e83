package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Origins reports whether signed policy names the origin of a URL (schema.Policy.Origin), and the certificates (PEM)
// that vouch for it; none: the public authorities.
type Origins func(*url.URL) (certificates string, named bool)

// Segment is an open answer. The caller closes Body.
type Segment struct {
	Body   io.ReadCloser
	Offset int64  // of Body's first byte: the one that was asked for, or 0 from a server without ranges
	From   string // base URL of the server or origin that sends it

	left int64 // bytes that belong to the segment
}

// Segment opens a segment of size bytes from offset on. Its digest is signed, so it does not matter who sends it: if
// the server redirects, the other place is asked, once: over https, without credentials, and only if origins has it.
// Neither the certificates of the server nor those of another origin vouch for it.
func (c *Client) Segment(ctx context.Context, d schema.Digest, size, offset int64, origins Origins) (*Segment, error) {
	h := http.Header{}
	if offset > 0 {
		h.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	from, path := c, schema.SegmentPath+d.Hex()
	open := func() (*answer, error) {
		return from.do(ctx, http.MethodGet, path, h, nil, size, http.StatusOK, http.StatusPartialContent)
	}
	a, err := open()
	var moved *StatusError
	if errors.As(err, &moved) && moved.location != nil {
		to := moved.location
		if from, err = c.origin(to, origins); err != nil {
			return nil, err
		}
		path = to.RequestURI()
		if a, err = open(); errors.As(err, &moved) {
			if moved.location != nil {
				return nil, fault.Refuse(fmt.Errorf("the server redirects to %s, and that to %s: "+
					"one redirect is followed, no more", from.base, place(moved.location)),
					"make the server redirect to the final place")
			}
			err = fmt.Errorf("%s, to which the server redirects: %w", from.base, err)
		}
	}
	if err != nil {
		return nil, err
	}
	s := &Segment{Body: a.Body, From: from.base, left: size}
	if a.StatusCode == http.StatusPartialContent {
		got := a.Header.Get("Content-Range")
		if !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", offset)) {
			a.Body.Close()
			return nil, &malformedError{fmt.Errorf("the server answered a range that was not asked for: %.80q", got)}
		}
		s.Offset, s.left = offset, size-offset
	}
	return s, nil
}

// Copy writes the segment's bytes from Offset on: all of them, or the error is ErrUnreachable. If there are more than
// belong to it, one of them is written too, so that the segment shows a wrong length and digest.
func (s *Segment) Copy(w io.Writer) error {
	n, err := io.Copy(w, io.LimitReader(s.Body, s.left+1))
	if err == nil && n < s.left {
		err = &transportError{fmt.Errorf("the server sent %d of %d bytes", s.Offset+n, s.Offset+s.left)}
	}
	return err
}

// origin is the client for another origin than the server's own.
func (c *Client) origin(to *url.URL, origins Origins) (*Client, error) {
	at := place(to)
	var certificates, why string
	named := false
	if origins != nil {
		certificates, named = origins(to)
	}
	switch {
	case to.Scheme != "https":
		why = "which is not https"
	case to.User != nil:
		why = "and gives a user and password for it"
	case !named:
		why = "which is not an origin that signed policy names"
	}
	if why != "" {
		return nil, fault.Refuse(fmt.Errorf("the server redirects to %s, %s", at, why),
			"if this origin is yours, add it to downloads.origins in fleet.cue and reconcile")
	}
	if i := slices.IndexFunc(c.origins, func(c *Client) bool { return c.base == at }); i >= 0 {
		return c.origins[i], nil
	}
	conf := c.conf
	conf.Server, conf.User, conf.Password, conf.Site, conf.Certificates = at, "", "", "", nil
	conf.Insecure = false
	if certificates != "" {
		conf.Certificates = []string{certificates}
	}
	o, err := New(conf)
	if err != nil {
		return nil, err
	}
	o.fetched, o.isOrigin = c.fetched, true
	c.origins = append(c.origins, o)
	return o, nil
}

// place is a URL without what may be secret in it: a signature in the query lets anybody fetch.
func place(u *url.URL) string { return plain.Name(u.Scheme + "://" + u.Host) }

// location is where an answer redirects to, nil if it does not.
func location(res *http.Response) *url.URL {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return nil
	}
	return to
}
