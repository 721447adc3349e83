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
	vouched, registered := h.vouched(), []string(nil)
	if r := h.Registration; r != nil {
		registered = r.Certificates
	}
	if len(vouched) == 0 {
		vouched = registered
	}
	var ways []Way
	add := func(server string, vouched []string) {
		w := Way{Server: server, Proxy: h.Proxy(), Certificates: vouched}
		if !slices.ContainsFunc(ways, w.Equal) {
			ways = append(ways, w)
		}
	}
	for _, server := range h.Servers() {
		add(server, vouched)
	}
	if len(registered) > 0 && (h.Config == nil || !h.Config.Fixed) {
		add(h.Registration.Server, registered)
	}
	return ways
}

// vouched are the authorities of signed and baked settings.
func (h *Host) vouched() []string {
	signed, _ := ask(certificates.signed, h)
	baked, _ := ask(certificates.baked, h)
	return union(signed, baked)
}

// Reached notes that w led to a server, and what that sent was verified. The way before is forgotten with that, and so
// is what registration believed once what is signed or baked has led there: whoever steals the key of an authority that
// no setting names any more gets nothing by it.
func (h *Host) Reached(w Way) {
	if w.Insecure {
		return
	}
	h.Worked = &w
	if vouched := h.vouched(); len(vouched) > 0 && slices.Equal(w.Certificates, vouched) {
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
	s, ok := p.Sites[name]
	if !ok || schema.CheckServerURL(s.URL) != nil || len(s.Certificates) > schema.MaxAgentConfig {
		return
	}
	site := &Site{URL: strings.TrimSuffix(s.URL, "/")}
	if s.Certificates != "" {
		certs, err := schema.ParseCertificates(s.Certificates)
		if err != nil {
			return
		}
		for _, c := range certs {
			site.Certificates = append(site.Certificates, PEM([]*x509.Certificate{c}))
		}
	}
	h.Site = site
}

// PEM is certificates alone, without what may stand between them in a file.
func PEM(certs []*x509.Certificate) string {
	var b []byte
	for _, c := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(b)
}
