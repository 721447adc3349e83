package owned

import (
	"fmt"
	"slices"
)

// Those who may do anything on a Windows system anyway, by their SIDs.
var trusted = []string{
	"S-1-5-18",     // the system
	"S-1-5-32-544", // administrators
	// TrustedInstaller
	"S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
}

// Placeholders in entries: who owns what is created, and who owns this.
var placeholders = []string{"S-1-3-0", "S-1-3-4"}

// Rights to a directory by which somebody changes what is in it, or who may.
const writing = 0x2 | // add a file
	0x4 | // add a directory
	0x10 | // extended attributes
	0x40 | // delete what is in it
	0x100 | // attributes
	0x10000 | // delete
	0x40000 | // change the entries
	0x80000 | // change the owner
	0x10000000 | // all
	0x40000000 // write

// The kinds of entries that are understood.
const (
	allows = 0
	denies = 1
)

// entry is one of an access control list.
type entry struct {
	kind   uint8
	rights uint32
	who    string // SID
}

// judge says what is wrong with a directory that owner has, whose list is entries; unlisted is that it has none, which
// admits everybody. me is the user that runs this.
func judge(owner string, unlisted bool, entries []entry, me string) error {
	ours := func(sid string) bool { return sid == me || slices.Contains(trusted, sid) }
	if !ours(owner) {
		return fmt.Errorf("belongs to %s", owner)
	}
	if unlisted {
		return fmt.Errorf("may be changed by everybody")
	}
	for _, e := range entries {
		switch {
		case e.kind == denies, ours(e.who), slices.Contains(placeholders, e.who):
		case e.kind != allows:
			return fmt.Errorf("has an access control entry of a kind that is not known: %d", e.kind)
		case e.rights&writing != 0:
			return fmt.Errorf("may be changed by %s", e.who)
		}
	}
	return nil
}
