package wire

import (
	"context"
	"io/fs"
	"net/http"
	"net/url"

	"bakehouse/schema"
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
	conf.User, conf.Password, conf.Certificates, conf.Program = "", "", nil, "bakehouse-agent"
	c, err := New(conf)
	if err != nil {
		return nil, err
	}
	t := c.http.Transport.(*http.Transport)
	t.TLSClientConfig.InsecureSkipVerify = true // what is fetched is verified by TUF; see above
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
