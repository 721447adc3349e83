// Package token is about join tokens: a secret by which hosts register without anybody's password. One is good for a
// number of registrations within a time, for hosts of some names, a site or a ring, and never for more than its creator
// may register himself. That is asked at each use: a token of a user who is gone, or has lost a permission, counts no
// longer.
//
//	token.go  what a token looks like, and whether it allows a registration
//	desk.go   create, list and revoke, for users over HTTP and for whoever has the server's files
package token

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
)

// prefix is what secret scanners can look for.
const prefix = "bhj_"

var form = regexp.MustCompile(`^bhj_([a-z2-7]{10})_[A-Z2-7]{26}$`)

// mint makes the text of a token: its ID, which is no secret, and 130 random bits.
func mint() (id, text string) {
	id = strings.ToLower(rand.Text()[:10])
	return id, prefix + id + "_" + rand.Text()
}

// ID is that of a token's text; ok is false for what is none.
func ID(text string) (id string, ok bool) {
	m := form.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// Matches reports whether text is the token t. The zero token costs the same and matches nothing.
func Matches(t inventory.Token, text string) bool {
	got := schema.DigestOf([]byte(text))
	return subtle.ConstantTimeCompare(got[:], t.Secret[:]) == 1 && t.ID != ""
}

// Local marks who is no user of the fleet but has the server's files: "@" and the name of a user of the machine. What
// such a one may do, no permission bounds.
const Local = "@"

// creator is the user who made a token, with what is wrong with that if anything is. The user is nil for a local one.
func creator(name string, access *schema.Access) (*schema.User, error) {
	if strings.HasPrefix(name, Local) {
		return nil, nil
	}
	u, ok := access.Users[name]
	if !ok {
		return nil, fmt.Errorf("user %s, who created it, is no user any more", name)
	}
	for _, p := range []string{schema.PermToken, schema.PermRegister} {
		if len(u.Permissions[p]) == 0 {
			return nil, fmt.Errorf("user %s, who created it, has the permission %s no longer", name, p)
		}
	}
	return &u, nil
}

// Valid says why t allows nothing at that time, if it does not. Whether a use is left is not looked at: the last one
// may be asked for again by the host that took it.
func Valid(t inventory.Token, access *schema.Access, now time.Time) error {
	const hint = "create another one with bakehouse token create"
	switch {
	case !t.Revoked.IsZero():
		return fault.Hint(fmt.Errorf("join token %s was revoked by %s at %s", t.ID, t.RevokedBy, stamp(t.Revoked)),
			hint)
	case !now.Before(t.Expires):
		return fault.Hint(fmt.Errorf("join token %s expired at %s", t.ID, stamp(t.Expires)), hint)
	}
	if _, err := creator(t.User, access); err != nil {
		return fault.Hint(fmt.Errorf("join token %s counts no longer: %w", t.ID, err), hint)
	}
	return nil
}

// Spent is the error for a token without a use left.
func Spent(t inventory.Token) error {
	return fault.Hint(fmt.Errorf("join token %s is used up: it was good for %d registrations", t.ID, t.Uses),
		"create another one with bakehouse token create")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Names says why t is not for hosts of that name, if it is not. t is valid.
func Names(t inventory.Token, access *schema.Access, host string) error {
	u, err := creator(t.User, access)
	if err != nil {
		return err
	}
	if u != nil && (!u.Allows(schema.PermToken, host) || !u.Allows(schema.PermRegister, host)) {
		return fault.Hint(fmt.Errorf("join token %s is not for host %s: user %s, who created it, may not register it",
			t.ID, host, t.User), "the user needs the permissions token and register for this host in access.cue")
	}
	if !named(t, host) {
		return fault.Hint(fmt.Errorf("join token %s is not for host %s, but for %s", t.ID, host,
			strings.Join(t.Hosts, ", ")), "use a token for this host: bakehouse token create --hosts %s", host)
	}
	return nil
}

// Covers says why t is not for a host, if it is not. t is valid.
func Covers(t inventory.Token, access *schema.Access, a *schema.Assignment) error {
	if err := Names(t, access, a.Host); err != nil {
		return err
	}
	for _, b := range bounds(t, a) {
		if b.want != "" && b.want != b.have {
			have := "in " + b.what + " " + b.have
			if b.have == "" {
				have = "in no " + b.what
			}
			return fault.Hint(fmt.Errorf("join token %s is for hosts of %s %s, and host %s is %s", t.ID, b.what, b.want,
				a.Host, have), "use a token for this host")
		}
	}
	return nil
}

// Bounds reports whether a host is within what t itself says, whatever its creator may do.
func Bounds(t inventory.Token, a *schema.Assignment) bool {
	return named(t, a.Host) && !slices.ContainsFunc(bounds(t, a), func(b bound) bool {
		return b.want != "" && b.want != b.have
	})
}

// Replaces reports whether t also replaces the registration of a host that polls: it says so, and its creator could
// have revoked that registration.
func Replaces(t inventory.Token, access *schema.Access, host string) bool {
	u, err := creator(t.User, access)
	return t.Replace && err == nil && (u == nil || u.Allows(schema.PermRevoke, host))
}

type bound struct{ what, want, have string }

func bounds(t inventory.Token, a *schema.Assignment) []bound {
	return []bound{{"site", t.Site, a.Site}, {"ring", t.Ring, a.Ring}}
}

func named(t inventory.Token, host string) bool {
	return len(t.Hosts) == 0 || slices.ContainsFunc(t.Hosts, func(p string) bool {
		ok, err := schema.MatchHost(p, host)
		return ok && err == nil
	})
}

// Spec is a token to be created. TTL is as in time.ParseDuration.
type Spec struct {
	Uses    int      `json:"uses"`
	TTL     string   `json:"ttl"`
	Hosts   []string `json:"hosts,omitempty"`
	Site    string   `json:"site,omitempty"`
	Ring    string   `json:"ring,omitempty"`
	Replace bool     `json:"replace,omitempty"`
}

// Bounds of a Spec.
const (
	MaxUses  = 1_000_000
	MaxTTL   = 366 * 24 * time.Hour
	maxHosts = 100
	maxHost  = 300 // bytes of a pattern
)

// check returns the lifetime.
func (s Spec) check(policy *schema.Policy) (time.Duration, error) {
	if s.Uses < 1 || s.Uses > MaxUses {
		return 0, fault.Hint(fmt.Errorf("invalid number of uses %d", s.Uses), "want 1 to %d", MaxUses)
	}
	ttl, err := time.ParseDuration(s.TTL)
	if err != nil || ttl < time.Minute || ttl > MaxTTL {
		return 0, fault.Hint(fmt.Errorf("invalid lifetime %.40q", s.TTL), "want 1m to %dh, such as 2h",
			MaxTTL/time.Hour)
	}
	if len(s.Hosts) > maxHosts {
		return 0, fault.Hint(fmt.Errorf("%d host patterns, at most %d are kept", len(s.Hosts), maxHosts),
			"write some of them as one regular expression: ~web.*|db[0-9]+")
	}
	for _, p := range s.Hosts {
		_, err := schema.MatchHost(p, "")
		if err == nil && (p == "" || len(p) > maxHost) {
			err = fmt.Errorf("host pattern %.80q: want 1 to %d bytes", p, maxHost)
		}
		if err != nil {
			return 0, fault.Hint(err,
				"a pattern is a host's name, or ~ and a regular expression for whole names such as ~web.*")
		}
	}
	if policy == nil {
		return ttl, nil
	}
	if _, ok := policy.Sites[s.Site]; s.Site != "" && !ok {
		return 0, fault.Hint(fmt.Errorf("the fleet %s has no site %.80q", policy.Fleet, s.Site),
			"sites are in fleet.cue of the config repo")
	}
	if s.Ring != "" && !slices.ContainsFunc(policy.Rings, func(r schema.Ring) bool { return r.Name == s.Ring }) {
		return 0, fault.Hint(fmt.Errorf("the fleet %s has no ring %.80q", policy.Fleet, s.Ring),
			"rings are in rollout.cue of the config repo")
	}
	return ttl, nil
}

// New makes a token of a Spec, and its text, which is kept nowhere. rel may be nil: then sites and rings are not
// checked.
func New(s Spec, user string, rel *origin.Release, now time.Time) (t inventory.Token, text string, err error) {
	var policy *schema.Policy
	if rel != nil {
		policy = rel.Policy
	}
	ttl, err := s.check(policy)
	if err != nil {
		return t, "", err
	}
	id, text := mint()
	now = now.UTC().Truncate(time.Second)
	return inventory.Token{ID: id, Secret: schema.DigestOf([]byte(text)), User: user, Created: now,
		Expires: now.Add(ttl), Uses: s.Uses, Hosts: s.Hosts, Site: s.Site, Ring: s.Ring, Replace: s.Replace}, text, nil
}
