// Package trust decides what a fleet's signed metadata really say. The host program installs nothing but on its word,
// and serve and reconcile read what is published through it too, so there is one reader of bins.
//
// The parties: the anchor, a root file that came with the package or from the operator; a Source of untrusted bytes (a
// server, a site, the store's disk); and the state directory, where this package remembers what it has verified. The
// walk is the TUF client workflow (specification 1.0, section 5) on go-tuf's metadata and trustedmetadata packages:
//
//	N.root.json      from the newest root held, each signed by the one before and by itself, until there is no next
//	timestamp.json   handed over by the poll's answer, or fetched; names the snapshot by version, length and hash
//	N.snapshot.json  names the version of targets and of every bin
//	N.targets.json   names policy, release and access by hash, and who signs the bins
//	policy           a target; its issue time is a floor under the clock
//	N.bin-xx.json    the bin that a host's name hashes to: which package the host gets
//
// That walk is of no fleet's making: walk.go and delegation.go do it for any TUF repository. Client adds a fleet's
// policy and bins (fleet.go), Repository nothing (repository.go): by it the program passes the TUF conformance suite
// with the same code.
//
// Who may sign a role is package quorum's matter. A bin of the form that reconcile writes is verified as it stands, by
// package bins; all else is go-tuf's. Bytes pass check (guard.go) before go-tuf sees them, because go-tuf parses before
// it verifies. What was seen is kept as marks (marks.go): versions that never go down again, bound to the keys that
// signed them, so that a new root which drops a stolen key also drops the versions that the thief made up. The state
// directory (state.go) mends itself.
package trust
