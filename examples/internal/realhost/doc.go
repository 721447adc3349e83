// Package realhost gives a test a real Debian host: systemd as PID 1, dpkg, a network of its own, and root in it.
//
// Boot puts a memory-backed overlay over a root of the machine's own Debian release (package debianroot) and boots it
// with systemd-nspawn. The test's process sits on one end of a veth pair (Gateway), the host on the other (Addr): a
// server under test listens on Gateway, and what the host's services listen on is reached under Addr. In debianroot's
// cache, who holds the lock hosts/N.lock owns the machine name bhN, the link ve-bhN and 198.18.x.y/30 number N.
//
// All of a host lives in one PID namespace and one mount namespace whose first process the kernel kills when the
// test's process dies, however it dies: processes, mounts, overlay and link go with them. Nothing has to be
// cleaned up by a handler that a SIGKILL or a test timeout would skip. What can remain then are empty control groups
// and unlocked lock files; the next owner of the same number removes and reuses them.
//
// It needs root, Linux and the tools that .ci/run installs.
package realhost
