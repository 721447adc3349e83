package ready

import (
	"io/fs"
	"math"
	"strings"
	"testing"

	"bakehouse/agent/install/listing"
)

func TestWhatAHostLacksIsFoundBeforeAnythingIsTouched(t *testing.T) {
	file := func(size int64, mode fs.FileMode) listing.File {
		return listing.File{Path: "/a/b", Size: size, Mode: mode}
	}
	for name, c := range map[string]struct {
		file  listing.File
		on    mounted
		wants string // empty: ready
	}{
		"room for it": {file(1<<20, 0o755), mounted{free: 100 << 20, inodes: 10}, ""},
		"a read-only file system": {file(1, 0o644), mounted{free: 100 << 20, inodes: 10, readOnly: true},
			"is mounted read-only"},
		"a program on noexec": {file(1, 0o755), mounted{free: 100 << 20, inodes: 10, noexec: true},
			"is mounted noexec, and /a/b is a program"},
		"no program on noexec": {file(1, 0o644), mounted{free: 100 << 20, inodes: 10, noexec: true}, ""},
		"too little room": {file(90<<20, 0o644), mounted{free: 100 << 20, inodes: 10},
			"not enough disk space"},
		"no inodes":          {file(1, 0o644), mounted{free: 100 << 20}, "not enough inodes"},
		"inodes not counted": {file(1, 0o644), mounted{free: 100 << 20, inodes: -1}, ""},
		"more than there can be": {file(math.MaxInt64/2, 0o644), mounted{free: 100 << 20, inodes: 9},
			"not enough disk space"},
	} {
		look := survey{func(p string) string { return p }, map[string]*mounted{"/a": &c.on}, map[uint64]*place{}}
		err := look.add(c.file)
		for _, on := range look.places {
			if err == nil {
				err = on.room()
			}
		}
		if (err == nil) != (c.wants == "") || err != nil && !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: %v, want %q", name, err, c.wants)
		}
	}
}
