package state

import (
	"slices"

	"bakehouse/schema"
)

// Way is one way to a server.
type Way struct {
	Server       string       `json:"server"`
	Proxy        schema.Proxy `json:"proxy,omitzero"`
	Certificates []string     `json:"certificates,omitempty"` // PEM, who vouches for it; none: the public authorities
	Insecure     bool         `json:"-"`                      // nobody has to, in this call; never kept
}

// Equal reports whether w and o are the same way.
func (w Way) Equal(o Way) bool {
	return w.Server == o.Server && w.Proxy == o.Proxy && slices.Equal(w.Certificates, o.Certificates)
}

// String says in one line what the way is, without a proxy's password.
func (w Way) String() string {
	if w.Insecure {
		return w.Server + ", proxy " + describeProxy(w.Proxy) + ", whose certificate is not verified"
	}
	return w.Server + ", proxy " + describeProxy(w.Proxy) + ", vouched for by " + describeCertificates(w.Certificates)
}

// Site is what signed policy says of the host's site.
type Site struct {
	URL          string   `json:"url"`
	Certificates []string `json:"certificates,omitempty"` // PEM, each one certificate; none: the public authorities
	Central      *Server  `json:"central,omitempty"`      // the fleet's own; nil: this is that, or it is not known
}

// Server is what signed policy says of a server, in the terms of Site.
type Server struct {
	URL          string   `json:"url"`
	Certificates []string `json:"certificates,omitempty"`
}
