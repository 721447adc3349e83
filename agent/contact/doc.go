// Package contact is the first contact of a host that knows nothing yet: by what it believes its server, and which root
// it verifies its first package with. It is the part of register that decides on trust; what it finds is kept by
// package state, and verified with by package trust.
//
//	server  the authorities of --ca; the certificate that the server shows now (--trust-cert); anybody (--insecure)
//	fleet   root and keys from files (--anchor, --key); the server's root if it has the fingerprint that was given
//	        (--root-fingerprint), or whatever root it has (--skip-signatures)
//
// What a way gives up is said before the password is asked for. Once the host has verified anything by a root, no
// server can give it another.
package contact
