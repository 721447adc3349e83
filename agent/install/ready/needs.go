package ready

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// makes reports whether a package's script finds what it makes users and groups with.
func (h Host) makes() bool {
	return h.Has("systemd-sysusers") || h.Has("useradd") && h.Has("groupadd") ||
		h.Has("adduser") && h.Has("addgroup") && h.Path("/") == "/" // busybox's know of no other root
}

// Provides looks for what a package needs of this host, by its manifest alone: nothing has to be fetched for it.
func (h Host) Provides(ctx context.Context, n schema.Needs) error {
	const again = "nothing was fetched or changed, and the next update tries again"
	for _, p := range n.Programs {
		if !h.Has(p) {
			return fault.Hint(fmt.Errorf("the package needs the program %s, which is not on this host", p),
				"install it; "+again)
		}
	}
	if h.makes() {
		return nil
	}
	var lack []string
	for _, kind := range []struct {
		word, database string
		names          []string
	}{{"user", "passwd", n.Users}, {"group", "group", n.Groups}} {
		for _, name := range kind.names {
			if !h.knows(ctx, kind.database, name) {
				lack = append(lack, kind.word+" "+name)
			}
		}
	}
	if len(lack) == 0 {
		return nil
	}
	return fault.Hint(fmt.Errorf("the package needs the %s, and this host has nothing to make users with: neither "+
		"systemd-sysusers nor useradd and groupadd nor adduser and addgroup", strings.Join(lack, ", the ")),
		"install one of these, or make what is missing manually; "+again)
}

// knows looks for a name in a database of users or groups, as packages' scripts do.
func (h Host) knows(ctx context.Context, database, name string) bool {
	b, err := os.ReadFile(h.Path("/etc/" + database))
	if err == nil && bytes.Contains(append([]byte("\n"), b...), []byte("\n"+name+":")) {
		return true
	}
	if h.Path("/") != "/" {
		return false
	}
	_, err = h.List(ctx, "getent", database, name)
	return err == nil
}
