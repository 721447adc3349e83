// Package agent is the host's side of Bakehouse: it registers the host, asks its server at intervals, and installs what
// signed metadata, accepted signature keys and the exact bytes vouch for, and nothing else.
//
// The parties are the server (untrusted: it can hold the host back, never steer it, and for how long that may last is
// signed), other origins that signed policy names (segments only), the host's own disk (a file is digested again
// whenever it is used), and six packages: agent/cycle says what is done next and what the state keeps, agent/state
// knows what the host knows, agent/wire asks the server, agent/trust verifies metadata, agent/install touches the
// system, agent/health asks how that is. schema.Policy.Decide says what this host may do now. One update, in order:
//
//	poll       POST the report to the first server that answers; a 204 says that nothing is new, a 200 brings what
//	           the host lacks of newer metadata. The ways to a server (poll.go): those of the settings; if a
//	           certificate is not believed, those of the site's signed ones, from metadata fetched without
//	           credentials; the last way that worked
//	refresh    verify roots, timestamp, snapshot, targets and policy; without news, check what is held against the clock
//	decide     signed policy, this host's signed assignment, what is installed and what failed here
//	fetch      the manifest with its statements, and the segments that are not here yet
//	verify     manifest against assignment, statements against the accepted keys, every segment, the whole package
//	survey     which names does the monitoring print, which services are ill already
//	install    stage, digest once more, install, ask the host whether it is well (agent/health); if not, the previous
//	           package is installed again
//	report     POST the outcome
//
// Files of the host: schema.ConfigFile, AnchorFile, HealthFile and KeepsFile come with the package. StateDir is the
// updater's own, 0700:
//
//	state.json   registration, what is installed, what was before, what failed here (0600; holds the host secret)
//	reported.json  which details of the host its server has
//	trust/       verified metadata
//	segments/    HEX: segments of the installed and the previous package; HEX.part: a download under way
//	packages/    HEX: gzipped manifests of the installed and the previous package, by package digest
//	staging/     the package that is being installed
//	agent.log    every step; agent.log.1 the one before
//	lock         held while an update, rollback or registration is under way
//
// After a crash at any point the next update starts over: an installation that was begun is in state.json as pending,
// and is either made again or, when policy no longer wants it or it was begun too often, replaced by the previous
// package.
//
// What it can do where. Linux (amd64) has been run, Windows (amd64, 386) in Wine; the others are compiled:
//
//	linux             everything
//	freebsd           tgz; without systemd nothing starts services, and updates run inside the service itself
//	aix, solaris      as freebsd; the lock is a POSIX record lock, and free space is not asked for beforehand
//	darwin            all but installing: packages for it are not made yet (schema.Platform.Formats)
//	windows           msi; an update by the service is a service of its own, on a copy (agent/detached). On
//	                  Windows itself by a CI job that has never run yet
package agent
