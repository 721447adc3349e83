// Package serve hands out what reconcile has published: the origin's HTTP interface and the command serve.
//
// The parties: the store (untrusted bytes), serve/origin (the verified release of now, read by agent/trust alone: a
// server is a site whose source is the local store), the inventory (registrations, reports), users who register hosts,
// and the hosts. A server vouches for nothing: hosts verify all they get. What it is trusted with is confidentiality,
// so the rule of this package is that a host reads its own package only.
//
//	server.go    routes, options, health
//	exchange.go  one request: deadlines, problems, the log line
//	hosts.go     who the host or the remote site is, and what it may read; serve/sites knows whose each host is
//	users.go     who the user is; serve/limit bounds what guessing passwords costs
//	metadata.go  TUF metadata; serve/encode has them gzipped, or as the difference to what the host holds
//	objects.go   top-level targets, manifests, segments, statements, whole packages
//	exchange with hosts: register.go, poll.go
//	live.go      the inventory with the table of hosts before it
//	command.go: the command serve; its further verbs are in serve/ask
//
// A store whose head is older, altered or unreadable changes nothing for hosts: the last verified release goes on being
// served, the log and /healthz say so. Expiry is the hosts' business, who have clocks of their own; a server that
// refused to start on an expired timestamp could not even hand out the next one.
//
// A later root in the store is kept back until the head verifies by it: reconcile creates it a moment before the timestamp
// that its keys sign, and hosts go from the old state to the new, never between.
//
// A host may read: every root up to the release's, the timestamp, snapshot and targets roles, its own bin, the policy and
// release targets, and manifest, segments, statements and bytes of its packages. Its packages are the candidates that signed metadata
// give it now, and those this server remembers giving it before (inventory.Packages). What a host merely claims to have
// installed opens nothing: a bin lists the digests of its neighbours' packages. All else is one 404, the same for what
// another host may read and for what does not exist.
//
// Anybody may read the timestamp, roots, snapshot and targets of the release, and the policy: they name no host, and a
// host whose server shows a certificate that it does not trust finds the new authority in them (agent/poll.go), without
// sending who it is.
package serve
