// Package bake turns recipes into packages, the same bytes on any machine.
//
// The parties: reconcile/rules says what a package holds (a Recipe), Sources opens the files that the repo and the pinned
// host programs supply, and a Store keeps what packages share. What comes out is a schema.Manifest; its caller stores and
// signs it.
//
// Every package is one gzip stream of tar entries (tgz), or that as the data member of an ar archive (deb), or one of cpio
// entries behind rpm's headers, which hold what in a deb is control (rpm):
//
//	           [ar magic, debian-binary, control.tar.gz (segment: scripts; literal: control, md5sums), header of data.tar.gz]
//	literal    gzip header
//	segment    the frame: all directories, and the anchor root
//	segment    per plugin that has any: its files from the repo and the host program, in order of their paths
//	literal    own files: content from CUE, units, health.json; those below /etc last
//	           end of the archive, gzip checksum and size, padding
//
// A segment is raw deflate blocks that start with no history and end on a byte boundary (a sync flush), so it stands in any
// stream of any package without being touched. It is made once: the store keeps, under the digest of its payload (the
// tar entries), a claim which segment holds it. The store is not believed: a claimed segment is used only if it inflates to
// that payload and ends cleanly. Of each segment, digest, CRC and the files' MD5 are computed once per process; a further
// package costs its literals and one SHA-256 over the whole.
//
// Nothing of the machine or the moment gets in: owners are root or names, times one constant, order sorted, and the compressor's
// level and the size of its writes fixed. When its bytes change all the same (a new release of the compressor), Version and
// codec are raised; a golden test notices.
//
// Files in this package, in the order of the flow: bake (the entry), layout (what goes where), tar, segment (make, find
// and check), deflate, crc and stream (splicing), deb, scripts, unit, users and relations (what only a system package has);
// cpio, rpm, rpmheader, rpmfiles, rpmdirs and rpmscripts (what only an rpm has), prefix (hashing what packages begin with
// once).
package bake
