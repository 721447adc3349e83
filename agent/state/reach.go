package state

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
)

// Ways are how to reach a server by the present settings, in the order in which they are tried. What registration
// believed is for the server of registration, and comes after what is signed or baked.
func (h *Host) Ways() []Way {
	registered := []string(nil)
	if r := h.Registration; r != nil {
		registered = r.Certificates
	}
	var ways []Way
	add := func(server string, vouched []string) {
		w := Way{Server: server, Proxy: h.Proxy(), Certificates: vouched}
		if !slices.ContainsFunc(ways, w.Equal) {
			ways = append(ways, w)
		}
	}
	for _, server := range h.Servers() {
		vouched, public := h.vouched(server)
		if len(vouched) == 0 && !public {
			vouched = registered
		}
		add(server, vouched)
	}
	if len(registered) > 0 && (h.Config == nil || !h.Config.Fixed) {
		add(h.Registration.Server, registered)
	}
	return ways
}

// Moving reports whether the host has a site whose server has not answered yet, and another one did before.
func (h *Host) Moving() bool {
	if h.Site == nil || h.Site.Central == nil || h.Worked == nil {
		return false
	}
	return len(h.Ways()) > 0 && !slices.ContainsFunc(h.Ways(), func(w Way) bool { return w.Server == h.Worked.Server })
}

// vouched are the authorities of signed and baked settings for a server. What is baked holds for all servers, unless
// it is what policy has for the fleet's own server: that says nothing of a site's. If there are none, public says that
// signed policy means the public ones.
func (h *Host) vouched(server string) (authorities []string, public bool) {
	signed, _ := ask(certificates.signed, h)
	baked, _ := ask(certificates.baked, h)
	if h.Site != nil && h.Site.Central != nil {
		switch central := h.Site.Central; server {
		case central.URL:
			signed, public = central.Certificates, true
		case h.Site.URL:
			baked, public = without(baked, central.Certificates), true
		}
	}
	return union(signed, baked), public
}

// without are those of the PEM texts that hold another certificate than the others.
func without(pems, others []string) (rest []string) {
	known := map[string]bool{}
	for _, p := range others {
		known[p] = true
	}
	for _, p := range pems {
		certs, err := schema.ParseCertificates(p)
		if err != nil || slices.ContainsFunc(certs, func(c *x509.Certificate) bool {
			return !known[PEM([]*x509.Certificate{c})]
		}) {
			rest = append(rest, p)
		}
	}
	return rest
}

// Reached notes that w led to a server, and what that sent was verified. The way before is forgotten with that, and so
// is what registration believed once what is signed or baked has led there: whoever steals the key of an authority that
// no setting names any more gets nothing by it.
func (h *Host) Reached(w Way) {
	if w.Insecure {
		return
	}
	h.Worked = &w
	if vouched, public := h.vouched(w.Server); (public || len(vouched) > 0) && slices.Equal(w.Certificates, vouched) {
		h.Registration.Certificates = nil
	}
}

// Learn takes over what verified policy says of the host's site: before it is known which one that is, of the one whose
// URL is that of registration, or else of the central one. What cannot be used counts as not said.
func (h *Host) Learn(p *schema.Policy) {
	if p == nil {
		return
	}
	name := h.Registration.Site
	for _, other := range slices.Sorted(maps.Keys(p.Sites)) {
		if name == "" && strings.TrimSuffix(p.Sites[other].URL, "/") == h.Registration.Server {
			name = other
		}
	}
	if name == "" {
		name = schema.CentralSite
	}
	h.Site = nil
	if s := serverOf(p, name); s != nil {
		h.Site = &Site{URL: s.URL, Certificates: s.Certificates}
		if name != schema.CentralSite {
			h.Site.Central = serverOf(p, schema.CentralSite)
		}
	}
}

// serverOf is what policy says of a site; nil if that cannot be used.
func serverOf(p *schema.Policy, name string) *Server {
	s, ok := p.Sites[name]
	if !ok || schema.CheckServerURL(s.URL) != nil || len(s.Certificates) > schema.MaxAgentConfig {
		return nil
	}
	site := &Server{URL: strings.TrimSuffix(s.URL, "/")}
	if s.Certificates != "" {
		certs, err := schema.ParseCertificates(s.Certificates)
		if err != nil {
			return nil
		}
		for _, c := range certs {
			site.Certificates = append(site.Certificates, PEM([]*x509.Certificate{c}))
		}
	}
	return site
}

// PEM is certificates alone, without what may stand between them in a file.
func PEM(certs []*x509.Certificate) string {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(b)
}
