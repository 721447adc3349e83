// Package bake turns recipes into packages, the same bytes on any machine.
//
// The parties: reconcile/rules says what a package holds (a Recipe), Sources opens the files that the repo, pinned URLs, archives
// of either and the pinned host programs supply, and a Store keeps what packages share. What comes out is a schema.Manifest; its caller stores and
// signs it.
//
// Every package but Solaris' is one gzip stream of tar entries (tgz), or that as the data member of an ar archive, behind another such
// stream of control files (deb), or one of cpio entries behind rpm's headers, which hold what in a deb is control (rpm):
//
//	           [ar magic, debian-binary, control.tar.gz (literal: version and size; segment: the other fields, scripts,
//	           checksums of shared files; literal: checksums of own files), header of data.tar.gz]
//	literal    gzip header
//	segment    all directories
//	segment    per plugin that has any: its files from the repo and the host program, in order of their paths
//	segment    what every package of the fleet has: the anchor root, copyright, licences, manual page
//	segment    the updater's settings and unit
//	literal    own files of other plugins: content from CUE, units, health.json, keeps.json; those below /etc last
//	           end of the archive, gzip checksum and size, padding
//
// In front of an rpm's stream are (plain segment) lead and index of the signature header, (literal) its values, (plain
// segment) the header's index and all values that do not depend on what files hold, and (literal) the others. A plain
// segment stands in packages as it is.
//
// A pkg is a header, pkginfo and pkgmap, which are literal, twice, and plain segments of cpio entries with a literal end.
//
// Any other segment is raw deflate blocks that start with no history and end on a byte boundary (a sync flush), so it stands
// in any stream of any package without being touched. A literal behind it may refer back into it: it is one stream. A
// segment is made once: the store keeps, under the digest of its payload, a claim which segment holds it. The store is not
// believed: a claimed segment is used only if it inflates to that payload and ends cleanly. Of each segment, digest, CRC
// and the files' MD5 are computed once per process; a further package costs its literals and one SHA-256 over what differs
// and all behind it: nearly nothing of a tgz, but all of a deb or rpm, whose version stands in front.
//
// Nothing of the machine or the moment gets in: owners are root or names, times one constant, order sorted, and the
// compressor's level and the size of its writes fixed. When bytes change all the same, Version is raised, and codec with it
// if it is the compressor that changed; a golden test notices.
//
// Files in this package, in the order of the flow: bake (the entry), layout (what goes where), docs, tar, segment (make, find
// and check), private (where its bytes are kept), deflate, crc and stream (splicing), prefix (hashing what packages begin
// with once), deb, scripts, unit, users and relations (what only a system package has), cpio, rpm, rpmheader, rpmfiles
// and rpmscripts (what only an rpm has), pkg and pkgscripts (what only a pkg has), systemdirs (what no package owns);
// seal (copies that carry an OpenPGP signature).
package bake
