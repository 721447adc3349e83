package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// Token is a join token: who has its secret may register hosts within its bounds, until it expires or is used up. Its
// secret is kept as SHA-256. What its creator may not do, it does not allow either: that is asked at each use.
type Token struct {
	ID      string
	Secret  schema.Digest
	User    string // who created it
	Created time.Time
	Expires time.Time
	Uses    int // how many registrations it is good for
	Used    int
	Hosts   []string // patterns as in schema.MatchHost; none: whatever its creator may register
	Site    string   // only hosts of that site; empty: of any
	Ring    string   // likewise
	Replace bool     // also in the place of registrations that hosts poll with

	Revoked   time.Time // zero: it is not
	RevokedBy string
}

// ErrTokenSpent says that a join token had no use left, had expired or was revoked when it came to it.
var ErrTokenSpent = errors.New("the join token is used up, expired or revoked")

// TokensKept is how long expired tokens are listed.
const TokensKept = 30 * 24 * time.Hour

// CreateToken keeps t, durably, and forgets those that expired long before it was created.
func (d *DB) CreateToken(ctx context.Context, t Token) error {
	hosts, err := json.Marshal(t.Hosts)
	if err != nil {
		return err
	}
	replaces := 0
	if t.Replace {
		replaces = 1
	}
	return wrapToken("create", t.ID, d.db.Write(ctx, func(tx sqldb.Tx) error {
		err := tx.Exec(ctx, "DELETE FROM tokens WHERE expires < $1", t.Created.Add(-TokensKept).Unix())
		if err != nil {
			return err
		}
		return tx.Exec(ctx, `INSERT INTO tokens (id, secret, "user", created, expires, uses, used, hosts, site, ring,
			replaces, revoked, revoked_by) VALUES ($1,$2,$3,$4,$5,$6,0,$7,$8,$9,$10,0,'')`, t.ID, t.Secret[:], t.User,
			t.Created.Unix(), t.Expires.Unix(), t.Uses, string(hosts), t.Site, t.Ring, replaces)
	}))
}

const selectTokens = `SELECT id, secret, "user", created, expires, uses, used, hosts, site, ring, replaces, revoked,
	revoked_by FROM tokens`

// Token returns one token, or an error that wraps fs.ErrNotExist.
func (d *DB) Token(ctx context.Context, id string) (Token, error) {
	list, err := d.tokens(ctx, " WHERE id = $1", id)
	if err == nil && len(list) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Token{}, wrapToken("look up", id, err)
	}
	return list[0], nil
}

// Tokens lists all tokens, the last created first.
func (d *DB) Tokens(ctx context.Context) ([]Token, error) {
	list, err := d.tokens(ctx, " ORDER BY created DESC, id")
	if err != nil {
		return nil, fmt.Errorf("inventory: list tokens: %w", err)
	}
	return list, nil
}

func (d *DB) tokens(ctx context.Context, which string, args ...any) (list []Token, err error) {
	err = d.db.Each(ctx, selectTokens+which, args, func(scan func(...any) error) error {
		t, err := scanToken(scan)
		list = append(list, t)
		return err
	})
	return list, err
}

func scanToken(scan func(...any) error) (t Token, err error) {
	var secret []byte
	var hosts string
	var created, expires, replaces, revoked int64
	err = scan(&t.ID, &secret, &t.User, &created, &expires, &t.Uses, &t.Used, &hosts, &t.Site, &t.Ring,
		&replaces, &revoked, &t.RevokedBy)
	if err != nil {
		return Token{}, err
	}
	if t.Secret, err = sqldb.Digest(secret); err != nil {
		return Token{}, err
	}
	t.Replace = replaces != 0
	t.Created, t.Expires = time.Unix(created, 0).UTC(), time.Unix(expires, 0).UTC()
	if revoked != 0 {
		t.Revoked = time.Unix(revoked, 0).UTC()
	}
	return t, json.Unmarshal([]byte(hosts), &t.Hosts)
}

// RevokeToken ends a token, durably. One that was revoked before stays as it is; one that is unknown is an error that
// wraps fs.ErrNotExist.
func (d *DB) RevokeToken(ctx context.Context, id, by string, at time.Time) error {
	return wrapToken("revoke", id, d.db.Write(ctx, func(tx sqldb.Tx) error {
		n, err := tx.Change(ctx, `UPDATE tokens SET
			revoked_by = CASE revoked WHEN 0 THEN $3 ELSE revoked_by END,
			revoked = CASE revoked WHEN 0 THEN $2 ELSE revoked END WHERE id = $1`, id, at.Unix(), by)
		if err == nil && n == 0 {
			err = fs.ErrNotExist
		}
		return err
	}))
}

// useToken takes a use of a token, if there is one left at that time.
func useToken(ctx context.Context, tx sqldb.Tx, id string, at time.Time) error {
	n, err := tx.Change(ctx, `UPDATE tokens SET used = used + 1
		WHERE id = $1 AND used < uses AND revoked = 0 AND expires > $2`, id, at.Unix())
	if err == nil && n == 0 {
		err = ErrTokenSpent
	}
	return err
}

func wrapToken(what, id string, err error) error {
	if err != nil {
		return fmt.Errorf("inventory: %s token %.40q: %w", what, id, err)
	}
	return nil
}
