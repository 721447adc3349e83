// Package wire is the client side of the Bakehouse protocol over HTTP: what a host asks its server, and a server its
// upstream. The shapes of requests and answers are in package schema; nothing here is verified, and nothing is kept.
//
//	register    POST  a user's name and password for a host's secret
//	poll        POST  the host's report; what a newer release has for the host, if there is one
//	metadata    GET   TUF files by name, whole or as the difference to a version that is held
//	targets     GET   policy, release and access, by digest
//	manifests   GET   by digest, with the signatures on the package; those alone if the manifest is held
//	segments    GET   by digest, from an offset on; the one answer that may come from another origin (segment.go)
//
// A server's certificate is verified by the authorities that are set, or else by the public ones that the program
// brings along (roots.go); certificate.go says why one is not believed. Unverified (unverified.go) is for a server
// whose certificate is not: metadata, and nothing of the host.
//
// A server is not trusted: every answer has a limit and a slowest rate, credentials go to the configured server only,
// and its texts are cleaned before they reach a log or a terminal. Every call takes a context.
//
// Errors fall into classes, by errors.Is:
//
//	ErrUnreachable  no answer, no whole one, or a server that cannot answer now: try another, or later
//	ErrCertificate  the server's certificate was not believed; it is ErrUnreachable too
//	ErrDenied       the server does not accept the credentials, or not for this
//	fs.ErrNotExist  the server does not have it
//	ErrMalformed    the answer is not of the protocol; it is ErrUnreachable too, for no Bakehouse server gave it
//
// Any other answer that is not a success is a *StatusError. One that no Bakehouse server gave, such as the page of a
// portal or a redirect to it, is ErrUnreachable whatever its status. An answer without end is a refusal
// (fault.IsRefusal).
package wire
