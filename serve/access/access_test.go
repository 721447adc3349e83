package access

import (
	"encoding/json"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/passhash"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheLineOfAccessAddIsCUEThatLetsTheUserIn(t *testing.T) {
	for name, c := range map[string]struct {
		user, password     string
		permissions, hosts []string
		may                map[string][]string
	}{
		"one permission": {"installer", "a\"b\\(c) é", []string{"register"}, []string{"~.*"},
			map[string][]string{"register": {"web01"}}},
		"two, one of them twice": {"7-up.x", "x", []string{"register", "download", "register"},
			[]string{"web01", `~db\d"\(`}, map[string][]string{"register": {"web01", `db1"(`}, "download": {"web01"}}},
		"an odd but valid name": {"_x", strings.Repeat("p", passhash.MaxLen), []string{"download"},
			[]string{"~a<b>&.*"}, map[string][]string{"download": {"a<b>&c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			line, err := Line(c.user, []byte(c.password), true, c.permissions, c.hosts)
			check(t, err)
			if strings.Contains(line, "\n") || strings.Contains(line, c.password) && len(c.password) > 1 {
				t.Errorf("line %q", line)
			}
			v := cuecontext.New().CompileString("package fleet\n" + line)
			check(t, v.Err())
			b, err := v.LookupPath(cue.ParsePath("users")).MarshalJSON()
			check(t, err)
			users := map[string]schema.User{}
			check(t, json.Unmarshal(b, &users))
			u := users[c.user]
			h, err := passhash.Parse(u.Hash)
			check(t, err)
			if !h.Matches([]byte(c.password)) {
				t.Errorf("%s is not of %q", h, c.password)
			}
			if !u.Automation || len(u.Permissions) != len(c.may) {
				t.Errorf("%+v", u)
			}
			for permission, hosts := range c.may {
				for _, h := range hosts {
					if !u.Allows(permission, h) {
						t.Errorf("%s of %s is not allowed: %+v", permission, h, u)
					}
				}
				if u.Allows(permission, "other") && c.hosts[0] != "~.*" {
					t.Errorf("%s of any host is allowed: %+v", permission, u)
				}
			}
		})
	}
}

func TestAPasswordThatCannotBeUsedIsRefused(t *testing.T) {
	for name, p := range map[string]string{"empty": "", "too long": strings.Repeat("x", passhash.MaxLen+1),
		"a tab": "a\tb"} {
		line, err := Line("u", []byte(p), false, []string{"register"}, []string{"~.*"})
		if err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: %q, %v", name, line, err)
		}
	}
}
