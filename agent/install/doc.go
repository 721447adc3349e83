// Package install puts a verified package on the host, and takes it back.
//
// The parties are the updater (package agent: it has verified the package against signed metadata and accepted keys and
// staged it in a directory that only it can write) and the host's file system. Nothing here decides what may be
// installed, but the staged file is digested once more from the descriptor that is then used.
//
// Four ways in:
//
//	deb  dpkg installs it, behind the frontend lock that apt takes too (dpkg.go, lock_linux.go)
//	rpm  rpm installs it, tried again while another program holds its lock; then rpm is asked what it did (rpm.go)
//	pkg  pkgadd puts it over what is there, on Solaris; then pkgparam and pkgchk are asked what it did (pkg.go)
//	tgz  a directory for each version, and a link for each file (package versions)
//
// What they share is package machine.
//
// All converge when they are run again after a crash at any point. Whether the host is well with it, package
// agent/health asks.
//
// With System.Root set, every path is below it: the sandbox of tests and of the demo.
package install
