// Package limit bounds what strangers can cost a server: connections, and the hashing that passwords cause. Whoever
// is in the right must not pay for it.
//
//	listener.go  connections in all, and of one address
//	gate.go      passwords: what was right a moment ago costs nothing, and failures count per address and user
//	bucket.go    how often something may happen
//
// Two bounds are a share of a whole, so that one address cannot take all: of the connections, and of the passwords that
// wait to be hashed. An address is an IPv4 address, or the /64 that one IPv6 subscriber has.
package limit

import (
	"net"
	"net/netip"
)

// Address is whom a peer's connections and failures are counted against; remote is "IP:port".
func Address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
