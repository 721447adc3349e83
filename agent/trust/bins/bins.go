// Package bins reads the bins of a fleet's repository: the TUF roles that list which package each host gets. There are
// up to 16,384 of them with every host's entry, so whoever reads a whole fleet spends most of its time here.
//
//	Layout   which bin a host's entry is in, as the role targets delegates them
//	Read     verifies a file that is canonical JSON as it stands, and decodes it in the same walk (canonical.go)
//	Bin      what is left of a bin once it is verified: nobody holds its file
//	Signed   a bin as reconcile signs it (write.go)
//	Recall   a bin that was verified before, by its file's digest, from a private memory (memory.go, record.go)
//
// Read accepts only what reconcile writes: one spelling of each value, every name known and in order. A file of any
// other form may be just as valid, and is for a full TUF implementation to judge; Read never refuses, it passes. What
// it accepts, that implementation accepts in the same meaning: the fuzz targets of package trust compare the two.
package bins

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// Bin is a verified bin. It must not be changed.
type Bin struct {
	Version int64
	Expires time.Time
	SHA256  schema.Digest // of its file, signatures included
	Signers []string      // ids of the keys whose signatures were valid, of those that may sign it

	Hosts []schema.Assignment // in the order of their targets' names
	Odd   []Odd               // targets that give no host anything, in order; nil in what Read returns
}

// Odd is a target of a bin that cannot be read, and why.
type Odd struct {
	Target string
	Err    error
}

// Find returns what the bin gives a host, nil if it does not list it.
func (b *Bin) Find(host string) (*schema.Assignment, error) {
	for i := range b.Hosts {
		if b.Hosts[i].Host == host {
			a := b.Hosts[i]
			return &a, nil
		}
	}
	for _, odd := range b.Odd {
		if odd.Target == schema.PackageTarget(host) {
			return nil, odd.Err
		}
	}
	return nil, nil
}

// All returns what the bin gives each host, or why one of its targets gives nothing.
func (b *Bin) All() ([]*schema.Assignment, error) {
	if len(b.Odd) > 0 {
		return nil, b.Odd[0].Err
	}
	as := make([]*schema.Assignment, len(b.Hosts))
	for i := range b.Hosts {
		as[i] = &b.Hosts[i]
	}
	return as, nil
}

// Layout says which bin lists a host's package: by the first bits of the SHA-256 of the target's name (TAP 15).
type Layout struct {
	names []string // by number
	bits  int
}

// LayoutOf reads a delegation to hashed bins.
func LayoutOf(s *metadata.SuccinctRoles) Layout { return Layout{s.GetRoles(), s.BitLength} }

// Names are the roles of all bins, in order. They must not be changed.
func (l Layout) Names() []string { return l.names }

// Number is the place in Names of the bin that lists the host's package.
func (l Layout) Number(host string) int {
	var buf [300]byte // what fits does not leave the stack
	return l.number(append(append(buf[:0], host...), packageSuffix...))
}

// Of is the role that lists the host's package.
func (l Layout) Of(host string) string { return l.names[l.Number(host)] }

func (l Layout) number(target []byte) int {
	sum := sha256.Sum256(target)
	return int(binary.BigEndian.Uint32(sum[:]) >> (32 - l.bits))
}

// packageSuffix is what a target's name has after the host's.
var packageSuffix = schema.PackageTarget("")
