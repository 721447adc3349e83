// Package sign holds the keys of a fleet and makes everything that is signed with them.
//
// The parties: operators, who make keys and the root by hand; reconcile, which signs what a commit leads to; the store,
// whose bytes are untrusted here as everywhere; hosts, which take nothing that agent/trust does not verify. The files:
//
//	keys/NAME.cue       in the repo: public half, uses, expiry               keycommand.go, keyimport.go
//	KEYDIR/NAME.key     private half, encrypted with a passphrase            keyring.go
//	NAME://…            instead: a private half that never leaves a service  keyremote.go
//	trust/N.root.json   in the repo: which keys may sign which role          root.go, rootchain.go, rootsign.go
//	statements/…        in the store: DSSE, one per package and key          statement.go
//	metadata/…          in the store: TUF roles under versioned names        publish.go
//	timestamps/N        in the store: the next one created is the commit     publish.go
//
// A run first reads what is published, and verifies it from the roots in the repo, never from those in the store
// (published.go). From that and the new assignments follows the next state (next.go), as a pure function: what
// did not change keeps its release number and its bytes. Then the files are created in the order in which clients
// could come to depend on them, the timestamp last. What grows old is renewed on the way (renewal.go), or between releases
// with fewer keys (refresh.go).
package sign
