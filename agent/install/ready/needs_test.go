package ready

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestWhatAPackageNeedsOfItsHostIsNamed(t *testing.T) {
	etc := t.TempDir()
	for name, text := range map[string]string{"passwd": "root:x:0:0::/:/bin/sh\nmade:x:9:9::/:/bin/sh\n",
		"group": "root:x:0:\nmade:x:9:\n"} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	users := func(names ...string) schema.Needs { return schema.Needs{Users: names, Groups: names} }
	for name, c := range map[string]struct {
		has     []string
		sandbox bool
		needs   schema.Needs
		want    string // empty: ready
	}{
		"nothing on an empty host":         {nil, false, schema.Needs{}, ""},
		"users by systemd-sysusers":        {[]string{"systemd-sysusers"}, false, users("probe"), ""},
		"users by shadow":                  {[]string{"useradd", "groupadd"}, false, users("probe"), ""},
		"users by busybox":                 {[]string{"adduser", "addgroup"}, false, users("probe"), ""},
		"busybox's, which know no sandbox": {[]string{"adduser", "addgroup"}, true, users("probe"), "the user probe"},
		"half of shadow, half of busybox":  {[]string{"useradd", "addgroup"}, false, users("probe"), "the user probe"},
		"no way to make users": {nil, false, users("probe"),
			"needs the user probe, the group probe, and this host has nothing"},
		"users that somebody made":       {nil, false, users("made"), ""},
		"a user of a directory service":  {nil, false, users("ldap"), ""},
		"whose name begins as another's": {nil, false, users("mad"), "the user mad, the group mad"},
		"the group alone": {nil, false, schema.Needs{Users: []string{"made"}, Groups: []string{"adm"}},
			"needs the group adm, and"},
		"a program": {[]string{"setcap"}, false, schema.Needs{Programs: []string{"setcap"}}, ""},
		"a program absent": {nil, false, schema.Needs{Programs: []string{"setcap"}},
			"needs the program setcap, which is not"},
	} {
		h := Host{Has: func(p string) bool { return slices.Contains(c.has, p) },
			Path: func(p string) string {
				if strings.HasPrefix(p, "/etc/") || c.sandbox {
					return filepath.Join(etc, strings.TrimPrefix(p, "/etc"))
				}
				return p
			},
			List: func(_ context.Context, program string, args ...string) ([]byte, error) {
				if program == "getent" && args[1] == "ldap" {
					return []byte("ldap:x:1:"), nil
				}
				return nil, errors.New("exit status 2")
			}}
		err := h.Provides(t.Context(), c.needs)
		if (err == nil) != (c.want == "") ||
			err != nil && (!strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
