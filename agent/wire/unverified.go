package wire

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Unverified asks whoever answers in a server's place, whatever certificate that shows, for what is verified by
// itself and says nothing of the host: metadata from root to policy. It is for a host that does not know the
// authority of its server any more, and may find it in them. Nothing of the host goes over such a connection: no
// credentials, no report, no name, and there is no method that could send them. Whoever is in between reads what any
// stranger may ask the server for, and can keep it from the host, as before.
//
// It is a source of agent/trust.
type Unverified struct{ c *Client }

// NewUnverified makes a client of that kind. Of conf, User, Password, Program and Certificates do not count.
func NewUnverified(conf Config) (*Unverified, error) {
	conf.User, conf.Password, conf.Site, conf.Certificates, conf.Program = "", "", "", nil, "bakehouse-agent"
	conf.Insecure = true // what is fetched is verified by TUF; see above
	c, err := New(conf)
	if err != nil {
		return nil, err
	}
	t := c.http.Transport.(*http.Transport)
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			u, err := proxy(r)
			if u == nil || u.Scheme != "https" {
				return u, err
			}
			// The certificate of a proxy that speaks TLS is not verified either.
			anonymous := *u
			anonymous.User = nil
			return &anonymous, err
		}
	}
	return &Unverified{c}, nil
}

// Close ends idle connections.
func (u *Unverified) Close() { u.c.Close() }

// Server is the base URL, without a slash at its end.
func (u *Unverified) Server() string { return u.c.base }

// Metadata reads a root, timestamp, snapshot or targets of at most limit bytes by its name.
func (u *Unverified) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if !schema.OpenMetadata(name) {
		return nil, fs.ErrNotExist
	}
	return u.c.get(ctx, schema.MetadataPath+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}

// Target reads the policy of at most limit bytes by its digest, which is not checked.
func (u *Unverified) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	if name != schema.PolicyTarget {
		return nil, fs.ErrNotExist
	}
	return u.c.get(ctx, schema.TargetPath+d.Hex()+"."+name, http.Header{"Accept-Encoding": {"gzip"}}, limit)
}

// Tree has none: it is for those who read bins.
func (u *Unverified) Tree(context.Context, schema.Digest, int64) ([]byte, error) {
	return nil, fs.ErrNotExist
}

// Certificate is the one that whoever answers in the server's place shows now, whatever its chain. It is for those who
// show it to a human, or pin it.
func (u *Unverified) Certificate(ctx context.Context) (*x509.Certificate, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.c.base+schema.MetadataPath+"timestamp.json", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", u.c.conf.Program)
	res, err := u.c.http.Do(req)
	if err != nil {
		return nil, u.c.explain(ctx, err)
	}
	res.Body.Close()
	if res.TLS == nil || len(res.TLS.PeerCertificates) == 0 {
		return nil, fault.Hint(fmt.Errorf("server %s shows no certificate", u.c.base),
			"a certificate is shown by a server whose URL starts with https://")
	}
	return res.TLS.PeerCertificates[0], nil
}
