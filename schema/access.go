package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Access is the signed target that only servers may read: who may register hosts or fetch packages, and when a
// registration may be retired.
type Access struct {
	Schema int             `json:"schema"`
	Users  map[string]User `json:"users"`
	// Programs that do not know it retire nothing.
	Retirement *Retirement `json:"retirement,omitempty"`
}

// User is a person or an automation. Hash is of the password or secret, in a form of package schema/passhash.
// Permissions map the name of a permission to the patterns of the hosts it covers (see MatchHost), for PermSite of the
// sites; a server passes on names that it does not know.
type User struct {
	Hash        string              `json:"hash"`
	Automation  bool                `json:"automation,omitempty"`
	Permissions map[string][]string `json:"permissions"`
}

// Permission is something that a user may be allowed to do.
type Permission struct {
	Name    string
	Meaning string
}

// The names of the permissions.
const (
	PermRegister = "register"
	PermDownload = "download"
	PermView     = "view"
	PermPublish  = "publish"
	PermRollout  = "rollout"
	PermToken    = "token"
	PermRevoke   = "revoke"
	PermAudit    = "audit"
	PermSite     = "site"
)

// Permissions are all that there are. The schema of config repos, commands and their help derive from it.
var Permissions = []Permission{
	{PermRegister, "register hosts"},
	{PermDownload, "fetch a host's package, for a manual first installation"},
	{PermView, "see hosts, their state and their packages"},
	{PermPublish, "read and write the store through the server"},
	{PermRollout, "pause, resume, halt and promote the rollout"},
	{PermToken, "create and revoke join tokens"},
	{PermRevoke, "revoke and forget registrations"},
	{PermAudit, "read the audit log"},
	{PermSite, "speak for remote sites; its patterns are of their names"},
}

// PermissionNames are the names of Permissions, in their order.
func PermissionNames() []string {
	names := make([]string, len(Permissions))
	for i, p := range Permissions {
		names[i] = p.Name
	}
	return names
}

// Allows reports whether u has the permission for that host.
func (u User) Allows(permission, host string) bool {
	return slices.ContainsFunc(u.Permissions[permission], func(p string) bool {
		ok, err := MatchHost(p, host)
		return ok && err == nil
	})
}

// MatchHost reports whether a permission's pattern covers a host: it is the host's name, or "~" and a regular
// expression (RE2) that matches the whole name. Conditions of rules match from the start of a name only; who may do
// something is not to grow with the names of hosts.
func MatchHost(pattern, host string) (bool, error) {
	expr, ok := strings.CutPrefix(pattern, "~")
	if !ok {
		return pattern == host, nil
	}
	re, err := hostExpression(expr)
	if err != nil {
		return false, fmt.Errorf("host pattern %.80q: %w", pattern, err)
	}
	return re.MatchString(host), nil
}

// hostExpression compiles an expression for whole names.
func hostExpression(expr string) (*regexp.Regexp, error) {
	// By itself first: a stray parenthesis could close the group that anchors it.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

// Covers is Allows for many hosts: the patterns are compiled once.
func (u User) Covers(permission string) func(host string) bool {
	names, exprs := map[string]bool{}, []*regexp.Regexp{}
	for _, p := range u.Permissions[permission] {
		if expr, ok := strings.CutPrefix(p, "~"); !ok {
			names[p] = true
		} else if re, err := hostExpression(expr); err == nil {
			exprs = append(exprs, re)
		}
	}
	return func(host string) bool {
		return names[host] || slices.ContainsFunc(exprs, func(re *regexp.Regexp) bool { return re.MatchString(host) })
	}
}
