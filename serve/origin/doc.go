// Package origin follows a store's head and yields what is published as verified releases, which a server then hands
// out. It is the first of the rooms that an answer to a host passes: nothing reaches serve's handlers that did not
// verify here, by agent/trust, from the fleet's root.
//
//	release.go   a release in memory, as a whole; the loader that verifies it, and remembers the digest of each file
//	follower.go  the release of now: swapped when the head moves and verifies, kept when it does not
//	names.go     former names of hosts; which metadata files there are, and who may read which
//
// A release that is expired is served: expiry is the hosts' business, who have clocks of their own.
package origin
