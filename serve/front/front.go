// Package front is what stands between a server's handlers and the network where that is not a TLS connection of the
// asking host itself: plain HTTP, and proxies. Credentials never count in the clear, and nobody but a proxy that the
// operator names says from where, or over what, somebody else asks.
package front

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Proxies are the addresses of proxies that are believed.
type Proxies []netip.Prefix

// Parse reads addresses and networks in CIDR form.
func Parse(list []string) (Proxies, error) {
	var p Proxies
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err == nil {
				prefix = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil || prefix.Bits() == 0 {
			return nil, fault.Hint(fmt.Errorf("--trusted-proxy %.80q is not the address of a proxy", s),
				"want an address or a network such as 192.0.2.7 or 10.1.0.0/24; not all addresses there are")
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

func (p Proxies) has(remote string) bool {
	a, ok := address(remote)
	return ok && slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// address reads an address with or without a port.
func address(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// Handler has next see the address of who asks by a proxy that is believed: the last one in X-Forwarded-For that is not
// such a proxy's. What stands before it, the asking one may have made up.
func (p Proxies) Handler(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.has(r.RemoteAddr) {
			chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
			for _, hop := range slices.Backward(chain) {
				a, ok := address(hop)
				if !ok {
					break
				}
				r.RemoteAddr = net.JoinHostPort(a.String(), "0")
				if !p.has(r.RemoteAddr) {
					break
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Plain answers plain HTTP. A proxy that is believed, and says that it was asked over HTTPS, gets what it would get
// over TLS: between it and this server, credentials are in the clear then. Others get what open lets anybody read, and
// are sent to HTTPS for the rest, where outer says that hosts of that name are reached; whoever sends credentials is
// told that they are known to the network now.
func Plain(p Proxies, open func(*http.Request) bool, outer func(host string) (port string), next http.Handler,
) http.Handler {
	behind := p.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case p.has(r.RemoteAddr) && r.Header.Get("X-Forwarded-Proto") == "https":
			behind.ServeHTTP(w, r)
		case r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "":
			refuse(w, "credentials were sent over plain HTTP, where others can read them: they are not looked at",
				"use the https:// URL, and change the password or register the host again")
		case reads && open(r):
			behind.ServeHTTP(w, r)
		case reads:
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = strings.Trim(r.Host, "[]")
			}
			if port := outer(host); port != "443" {
				host = net.JoinHostPort(host, port)
			} else if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
		default:
			refuse(w, "this is answered over HTTPS only", "use the https:// URL")
		}
	})
}

func refuse(w http.ResponseWriter, text, hint string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(schema.Problem{Error: text, Hint: hint}) // a peer that is gone is no error of ours
}
