package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"bakehouse/agent/trust/quorum"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxVisited bounds how many roles one search asks.
const maxVisited = 32

// load returns a verified targets role, on the word of the role that delegates to it.
type load func(ctx context.Context, role, delegator string) (*metadata.Metadata[metadata.TargetsType], error)

// find looks for a target in targets, then in the roles that it delegates the target's path to: the most trusted first,
// each with all that is below it, none twice (5.6.7). ErrNoTarget if nobody lists it.
//
// A role that does not load ends the search. What a role below says counts only for as long as the ones above it are
// known to say nothing.
func find(ctx context.Context, target string, load load) (*metadata.TargetFiles, error) {
	type edge struct{ role, delegator string }
	stack, visited := []edge{{metadata.TARGETS, metadata.ROOT}}, map[string]bool{}
	for len(stack) > 0 && len(visited) <= maxVisited {
		e := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if visited[e.role] {
			continue
		}
		visited[e.role] = true
		md, err := load(ctx, e.role, e.delegator)
		if err != nil {
			return nil, err
		}
		if t := md.Signed.Targets[target]; t != nil {
			return t, nil
		}
		var below []edge
		for _, r := range delegates(md.Signed.Delegations, target) {
			below = append(below, edge{r.Name, e.role})
			if r.Terminating {
				stack = nil
				break
			}
		}
		slices.Reverse(below)
		stack = append(stack, below...)
	}
	return nil, fmt.Errorf("target %.200q: %w", target, ErrNoTarget)
}

// delegates are the roles that d trusts with the target, in order. go-tuf compares hash prefixes, which are hexadecimal,
// with base64, and takes a backslash in a pattern for an escape.
func delegates(d *metadata.Delegations, target string) []metadata.RoleResult {
	switch {
	case d == nil:
		return nil
	case d.Roles == nil && d.SuccinctRoles != nil:
		return d.SuccinctRoles.GetRolesForTarget(target)
	}
	sum := sha256.Sum256([]byte(target))
	hash := hex.EncodeToString(sum[:])
	var rs []metadata.RoleResult
	for _, r := range d.Roles {
		if slices.ContainsFunc(r.Paths, func(p string) bool { return matches(p, target) }) ||
			slices.ContainsFunc(r.PathHashPrefixes, func(p string) bool { return strings.HasPrefix(hash, p) }) {
			rs = append(rs, metadata.RoleResult{Name: r.Name, Terminating: r.Terminating})
		}
	}
	return rs
}

// matches says whether a path pattern covers the target: shell wildcards, none of which covers a slash.
func matches(pattern, target string) bool {
	ok, err := path.Match(strings.NewReplacer(`\`, `\\`, `[!`, `[^`).Replace(pattern), target)
	return ok && err == nil
}

// delegated is who may sign a role that md delegates to.
func delegated(md *metadata.Metadata[metadata.TargetsType], role string) (q quorum.Quorum, err error) {
	if slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
		return q, refuse("the role %s is delegated to, which only the root may name", role)
	}
	d := md.Signed.Delegations
	if d == nil {
		return q, refuse("nothing is delegated to %.80q", role)
	}
	for _, r := range d.Roles {
		if r.Name == role {
			return quorum.Of(d.Keys, r.KeyIDs, r.Threshold), nil
		}
	}
	if s := d.SuccinctRoles; d.Roles == nil && s != nil {
		return quorum.Of(d.Keys, s.KeyIDs, s.Threshold), nil
	}
	return q, refuse("nothing is delegated to %.80q", role)
}
