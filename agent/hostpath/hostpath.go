// Package hostpath says where a path of a package is on this host. Packages have one form of paths for all systems,
// with slashes and without drives (schema); on Windows the system is asked where its folders are, never the
// environment, which whoever starts a program can set.
package hostpath
