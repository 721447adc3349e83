package desk

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/audit"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/token"
)

// Token is what is told of a join token.
type Token struct {
	ID        string    `json:"id"`
	State     string    `json:"state"` // valid, used-up, expired, revoked or void
	Why       string    `json:"why,omitempty"`
	User      string    `json:"user"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
	Uses      int       `json:"uses"`
	Used      int       `json:"used"`
	Hosts     []string  `json:"hosts,omitempty"`
	Site      string    `json:"site,omitempty"`
	Ring      string    `json:"ring,omitempty"`
	Replace   bool      `json:"replace,omitempty"`
	Covers    *int      `json:"covers,omitempty"` // hosts of the fleet now; absent: not known here
	Revoked   time.Time `json:"revoked,omitzero"`
	RevokedBy string    `json:"revokedBy,omitempty"`
}

// Created is a new token with its secret, which nobody is told again.
type Created struct {
	Secret string `json:"token"`
	Token
}

// Tokens is a list of them.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// States of a token.
const (
	Valid   = "valid"
	UsedUp  = "used-up"
	Expired = "expired"
	Revoked = "revoked"
	Void    = "void" // its creator is gone, or has lost a permission
)

func (d *Desk) tell(t inventory.Token, rel *origin.Release) Token {
	row := Token{ID: t.ID, State: Valid, User: t.User, Created: t.Created, Expires: t.Expires, Uses: t.Uses,
		Used: t.Used, Hosts: t.Hosts, Site: t.Site, Ring: t.Ring, Replace: t.Replace, Revoked: t.Revoked,
		RevokedBy: t.RevokedBy}
	now := d.Now()
	switch {
	case !t.Revoked.IsZero():
		row.State = Revoked
	case !now.Before(t.Expires):
		row.State = Expired
	case t.Used >= t.Uses:
		row.State = UsedUp
	case rel == nil:
	default:
		if err := token.Valid(t, rel.Access, now); err != nil {
			row.State, row.Why = Void, err.Error()
			return row
		}
		n := 0
		for _, a := range rel.Hosts {
			if token.Covers(t, rel.Access, a) == nil {
				n++
			}
		}
		row.Covers = &n
	}
	return row
}

// Create makes a join token. Its creator needs the permissions token and register, and revoke for one that replaces;
// their hosts bound it at each use.
func (d *Desk) Create(ctx context.Context, who audit.Actor, s token.Spec) (*Created, error) {
	needs := []string{schema.PermToken, schema.PermRegister}
	if s.Replace {
		needs = append(needs, schema.PermRevoke)
	}
	for _, p := range needs {
		if !who.Has(p) {
			return nil, denied(who, p, "")
		}
	}
	rel := d.Release()
	t, text, err := token.New(s, who.Name, rel, d.Now())
	if err != nil {
		return nil, invalid(err)
	}
	row := d.tell(t, rel)
	if row.Covers != nil && *row.Covers == 0 {
		return nil, invalid(fault.Hint(fmt.Errorf("such a token is for no host that user %s may register", who.Name),
			"check --hosts, --site and --ring, and the user's permissions token and register in access.cue"))
	}
	if err := d.Inventory.CreateToken(ctx, t); err != nil {
		return nil, err
	}
	e := event(who, audit.TokenCreated, t.Created)
	e.Token, e.Detail = t.ID, describe(t)
	d.Audit.Record(ctx, e)
	return &Created{text, row}, nil
}

func describe(t inventory.Token) string {
	s := fmt.Sprintf("%d uses until %s", t.Uses, t.Expires.UTC().Format(time.RFC3339))
	if t.Uses == 1 {
		s = "1 use" + s[len("1 uses"):]
	}
	for _, p := range t.Hosts {
		s += ", hosts " + p
	}
	for _, bound := range [][2]string{{"site", t.Site}, {"ring", t.Ring}} {
		if bound[1] != "" {
			s += ", " + bound[0] + " " + bound[1]
		}
	}
	if t.Replace {
		s += ", replaces"
	}
	return s
}

// List lists the tokens, the last created first.
func (d *Desk) List(ctx context.Context, who audit.Actor) (*Tokens, error) {
	if !who.Has(schema.PermToken) {
		return nil, denied(who, schema.PermToken, "")
	}
	list, err := d.Inventory.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	rel, rows := d.Release(), []Token{}
	for _, t := range list {
		if d.sees(who, t, rel) {
			rows = append(rows, d.tell(t, rel))
		}
	}
	return &Tokens{rows}, nil
}

// sees reports whether a token is who's business: it is their own, or registers a host that they may create tokens for.
func (d *Desk) sees(who audit.Actor, t inventory.Token, rel *origin.Release) bool {
	if who.User == nil || t.User == who.Name || rel == nil {
		return true
	}
	for host, a := range rel.Hosts {
		if who.May(schema.PermToken, host) && token.Bounds(t, a) {
			return true
		}
	}
	return false
}

// RevokeToken ends a token.
func (d *Desk) RevokeToken(ctx context.Context, who audit.Actor, id string) error {
	if !who.Has(schema.PermToken) {
		return denied(who, schema.PermToken, "")
	}
	t, err := d.Inventory.Token(ctx, id)
	if err == nil && !d.sees(who, t, d.Release()) {
		err = fs.ErrNotExist
	}
	if err == nil && t.Revoked.IsZero() {
		now := d.Now()
		if err = d.Inventory.RevokeToken(ctx, id, who.Name, now); err == nil {
			e := event(who, audit.TokenRevoked, now)
			e.Token = id
			d.Audit.Record(ctx, e)
		}
	}
	return noSuch(err, "join token "+id, "bakehouse token list lists them")
}
