// Package diagnose writes what helps somebody who cannot see a host: an archive with its status, settings, state, log,
// verified metadata, and what the package manager, systemd, the file systems and the servers say. It changes nothing on
// the host, takes no lock, and fails in no part: what cannot be had says why in its place.
//
// No secret is in it. What is known to be one is left out where it would be, and once more, in each form in which it
// may be written, looked for in every file before that is packed (hide.go).
package diagnose
