package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Classes of errors, for errors.Is. What the server does not have is fs.ErrNotExist. ErrCertificate and ErrMalformed
// are ErrUnreachable too: whatever answered, it was no Bakehouse server that is trusted here.
var (
	ErrUnreachable = errors.New("server unreachable")
	ErrCertificate = errors.New("certificate not trusted")
	ErrDenied      = errors.New("access denied")
	ErrMalformed   = errors.New("malformed answer")
)

// transportError says that no answer, or no whole one, was had.
type transportError struct{ err error }

func (e *transportError) Error() string        { return plain.Lines(e.err.Error(), plain.MaxError) }
func (e *transportError) Unwrap() error        { return e.err }
func (e *transportError) Is(target error) bool { return target == ErrUnreachable }

// certificateError says that the server's certificate, or that of a proxy, was not believed.
type certificateError struct{ transportError }

func (e *certificateError) Is(target error) bool {
	return target == ErrCertificate || e.transportError.Is(target)
}

// malformedError says that an answer is not of the protocol.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return plain.Lines(e.err.Error(), plain.MaxError) }
func (e *malformedError) Unwrap() error { return e.err }
func (e *malformedError) Is(target error) bool {
	return target == ErrMalformed || target == ErrUnreachable
}

// StatusError is an answer that is not a success. Its message is the server's, so it is cleaned and shortened.
type StatusError struct {
	Status  int
	Path    string
	Message string
	Foreign bool // no Bakehouse server's: a redirect, or the page of a portal, a proxy or another program

	kind     string        // of body, as it says
	location *url.URL      // of a redirect
	after    time.Duration // when to come again, as Retry-After says it; 0: it does not
}

func (e *StatusError) Error() string {
	if e.Message != "" {
		return fmt.Sprintf("%s: the server answered %d: %s", e.Path, e.Status, e.Message)
	}
	text := fmt.Sprintf("%s: the server answered %d %s", e.Path, e.Status, http.StatusText(e.Status))
	if e.Foreign {
		text += fmt.Sprintf(" (%s), which is not an answer of a Bakehouse server", e.kind)
	}
	return text
}

func (e *StatusError) Is(target error) bool {
	if e.Foreign {
		return target == ErrUnreachable
	}
	switch target {
	case fs.ErrNotExist:
		return e.Status == http.StatusNotFound
	case ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	case ErrUnreachable:
		return e.Status >= 500 || e.Status == http.StatusTooManyRequests
	}
	return false
}

// After is when a busy server wants to be asked again; 0: it does not say.
func (e *StatusError) After() time.Duration { return e.after }

// problem reads what a server says about an answer that is not a success. A Bakehouse server says what is wrong in JSON
// (schema.Problem).
func (c *Client) problem(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 8<<10))
	var p schema.Problem
	if schema.Decode(b, &p) != nil {
		p = schema.Problem{}
	}
	e := &StatusError{Status: res.StatusCode, Path: plain.Name(res.Request.URL.Path), Message: plain.Name(p.Error),
		kind: kind(res.Header), location: location(res), after: retryAfter(res.Header)}
	if e.location != nil {
		e.Message = "redirects to " + place(e.location) + ", which is not followed"
	}
	e.Foreign = !c.isOrigin && (e.location != nil || p.Error == "")
	switch {
	case !e.Foreign && p.Hint != "":
		return fault.Hint(e, "%s", plain.Name(p.Hint))
	case !e.Foreign:
		return e
	case e.Status == http.StatusBadRequest && res.Request.URL.Scheme == "http":
		return fault.Hint(e, "if the server uses TLS, its URL starts with https://")
	}
	return fault.Hint(e, foreignHint, c.base)
}

// foreignHint says what to do about an answer that is no Bakehouse server's; it takes the server.
const foreignHint = "something else answers at %s: check the host, port and path of the URL, and whether a login " +
	"page, a proxy or a load balancer answers in the server's place"

// kind is what an answer says that its body is.
func kind(h http.Header) string {
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return "of no known type"
	}
	return plain.Name(media)
}

// notOurs says that an answer that is a success is not of the protocol.
func (c *Client) notOurs(path string, h http.Header, err error) error {
	return fault.Hint(&malformedError{fmt.Errorf("%s%s answered with something (%s) that is not an answer of a "+
		"Bakehouse server: %w", c.base, path, kind(h), err)}, foreignHint, c.base)
}

// mostPatience is how long a registration waits for a busy server in all.
const mostPatience = 5 * time.Minute

// retryAfter is in whole seconds; the form with a date is not for a host whose clock may be wrong.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > int(mostPatience/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// Asked is after how many seconds a server wants the next poll, by the answer to one or, if it is busy, by its error;
// 0: it does not say.
func Asked(answer *schema.PollAnswer, err error) int64 {
	var busy *StatusError
	switch {
	case answer != nil:
		return answer.Next
	case errors.As(err, &busy) && !busy.Foreign:
		return int64(busy.after / time.Second)
	}
	return 0
}

// explain turns what the HTTP client says into what failed and what to do.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// The URL and the method that url.Error adds are said once, here.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var hint string
	failed := func(err error) error { return &transportError{err} }
	var bad *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &bad):
		hint, err = explainCertificate(bad, c.conf.trusted(), c.conf.Now())
		failed = func(err error) error { return &certificateError{transportError{err}} }
	case errors.As(err, &record) || strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		err = errors.New("the server does not speak TLS on that port")
		hint = "check the port and the protocol of the URL"
	case strings.Contains(err.Error(), "protocol version not supported"):
		err, hint = errors.New("the server speaks no TLS 1.2 or later"), "update what answers there"
	case errors.As(err, &dns):
		hint = "check the host name of the URL, and this host's name resolution"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		hint = "check the proxy in the updater rule, or HTTPS_PROXY"
	default:
		hint = "check that the server runs, and that no firewall or proxy is in the way"
	}
	return fault.Hint(failed(fmt.Errorf("server %s: %w", c.base, err)), "%s", hint)
}
