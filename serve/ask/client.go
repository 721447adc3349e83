package ask

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// maxAnswer bounds what a server may send.
const maxAnswer = 64 << 20

// client asks one server as one user.
type client struct {
	url, user, password string
	http                *http.Client
}

// newClient trusts the authorities in PEM, or the system's if there are none.
func newClient(url, user, password string, authorities []byte) (*client, error) {
	if !strings.HasPrefix(url, "https://") {
		return nil, fault.Hint(fmt.Errorf("--server %s is not https: a password is never sent in the clear", url),
			"set it to the server's https:// URL")
	}
	if err := schema.CheckServerURL(url); err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if authorities != nil {
		certs, err := schema.ParseCertificates(string(authorities))
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("--ca: %w", err),
				"set it to a PEM file with the certificate of the authority that signed the server's")
		}
		conf.RootCAs = x509.NewCertPool()
		for _, c := range certs {
			conf.RootCAs.AddCert(c)
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.ResponseHeaderTimeout = conf, time.Minute
	return &client{strings.TrimSuffix(url, "/"), user, password, &http.Client{Transport: t, Timeout: 5 * time.Minute,
		// The credentials are for this server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

// do sends in as JSON, unless it is nil, and reads the answer into out, unless that is nil.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	req.SetBasicAuth(c.user, c.password)
	res, err := c.http.Do(req)
	if err != nil {
		return fault.Hint(fmt.Errorf("server %s: %w", c.url, errors.Unwrap(err)), "%s", adviceFor(err))
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("server %s: %w", c.url, err)
	case len(b) > maxAnswer:
		return fmt.Errorf("server %s: the answer is longer than %d bytes", c.url, maxAnswer)
	case res.StatusCode == http.StatusNoContent:
		return nil
	case res.StatusCode != http.StatusOK:
		return c.problem(res, b)
	case out == nil:
		return nil
	}
	if err := schema.Decode(b, out); err != nil {
		return fault.Hint(fmt.Errorf("server %s: %w", c.url, err), notOurs)
	}
	return nil
}

const notOurs = "is --server the URL of a Bakehouse server of this version?"

// problem is the server's own words, if they are that of a Bakehouse server.
func (c *client) problem(res *http.Response, body []byte) error {
	var p schema.Problem
	if schema.Decode(body, &p) != nil || p.Error == "" {
		return fault.Hint(fmt.Errorf("server %s answered %s", c.url, plain.Lines(res.Status, 100)), notOurs)
	}
	hint := plain.Lines(p.Hint, plain.MaxError)
	if res.StatusCode == http.StatusNotFound && hint == "" {
		hint = notOurs
	}
	err := fmt.Errorf("server %s: %s", c.url, plain.Lines(p.Error, plain.MaxError))
	if res.StatusCode == http.StatusNotFound {
		err = fmt.Errorf("%w%w", err, noSuch{})
	}
	if hint == "" {
		return err
	}
	return fault.Hint(err, "%s", hint)
}

func adviceFor(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return "set --ca to a PEM file with the certificate of the authority that signed the server's"
	case errors.As(err, &name):
		return "ask the server by a name that is in its certificate"
	}
	return "check --server, and that the server runs and can be reached from here"
}

// noSuch marks an error as one of something that is not there.
type noSuch struct{}

func (noSuch) Error() string        { return "" }
func (noSuch) Is(target error) bool { return target == fs.ErrNotExist }
