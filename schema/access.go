package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Access is the signed target that only servers may read: who may register hosts or fetch packages.
type Access struct {
	Schema int             `json:"schema"`
	Users  map[string]User `json:"users"`
}

// User is a person or an automation. Hash is a bcrypt hash of the password or secret. Permissions map a permission to
// the host patterns it covers.
type User struct {
	Hash        string              `json:"hash"`
	Automation  bool                `json:"automation,omitempty"`
	Permissions map[string][]string `json:"permissions"`
}

// The permissions that a server knows.
const (
	PermRegister = "register" // register hosts
	PermDownload = "download" // fetch a host's package, for the first installation by hand
)

// Allows reports whether u has the permission for that host.
func (u User) Allows(permission, host string) bool {
	return slices.ContainsFunc(u.Permissions[permission], func(p string) bool {
		ok, err := MatchHost(p, host)
		return ok && err == nil
	})
}

// MatchHost reports whether a host's name matches a pattern: the name itself, or "~" and a regular expression (RE2)
// that is anchored at its start.
func MatchHost(pattern, host string) (bool, error) {
	expr, ok := strings.CutPrefix(pattern, "~")
	if !ok {
		return pattern == host, nil
	}
	re, err := regexp.Compile("^(?:" + expr + ")")
	if err != nil {
		return false, fmt.Errorf("host pattern %.80q: %w", pattern, err)
	}
	return re.MatchString(host), nil
}
