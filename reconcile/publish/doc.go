// Package publish has the state of the fleet that a store publishes, and makes the next one.
//
// The parties: reconcile, which publishes what a commit leads to; the store, whose bytes are untrusted here as
// everywhere; hosts, which take nothing that agent/trust does not verify. The files in the store:
//
//	statements/…  DSSE, one per package and key          statement.go
//	metadata/…    TUF roles under versioned names        write.go
//	timestamps/N  the next one created is the commit     write.go
//
// A run first reads what is published, and verifies it from the roots in the repo, never from those in the store
// (read.go). From that and the new assignments follows the next state (draft.go), as a pure function: what did not
// change keeps its release number and its bytes. Then the files are created in the order in which clients could come
// to depend on them, the timestamp last (write.go). What grows old is renewed on the way (renew.go), or between
// releases with fewer keys (refresh.go).
package publish
