package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"bakehouse/schema"
)

// Served is the newest timestamp that a server has handed out of the fleet with that first root. What hosts claim to
// have verified is not counted: any of them could make up a number.
type Served struct {
	Anchor    schema.Digest // of the first root
	Timestamp int64
	File      []byte // the timestamp
	At        time.Time
}

// Serve records s in the place of what was served before. It is durable when it returns nil.
func (d *DB) Serve(ctx context.Context, s Served) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO served (anchor, timestamp, file, at) VALUES (?,?,?,?)
		ON CONFLICT (anchor) DO UPDATE SET timestamp=excluded.timestamp, file=excluded.file, at=excluded.at`,
		s.Anchor[:], s.Timestamp, s.File, s.At.Unix())
	if err != nil {
		return fmt.Errorf("inventory: served: %w", err)
	}
	return nil
}

// Served is what was served last of the fleet with that first root, or of any for the zero digest; zero if nothing was.
func (d *DB) Served(ctx context.Context, anchor schema.Digest) (s Served, err error) {
	var root []byte
	var at int64
	err = d.read.QueryRowContext(ctx, `SELECT anchor, timestamp, file, at FROM served WHERE anchor = ?1 OR ?2
		ORDER BY at DESC, timestamp DESC LIMIT 1`, anchor[:], anchor.IsZero()).Scan(&root, &s.Timestamp, &s.File, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Served{}, nil
	}
	if err == nil {
		s.Anchor, err = digest(root)
	}
	if err != nil {
		return Served{}, fmt.Errorf("inventory: served: %w", err)
	}
	s.At = time.Unix(at, 0).UTC()
	return s, nil
}

// Rename moves all that is known of a host to its new name, durably. It does nothing if the new name is registered, or
// the old one is not.
func (d *DB) Rename(ctx context.Context, was, now string) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return wrap("rename", was, err)
	}
	defer tx.Rollback()
	var registered int
	err = tx.QueryRowContext(ctx, "SELECT count(*) FROM hosts WHERE name = ?", now).Scan(&registered)
	if err != nil || registered > 0 {
		return wrap("rename", was, err)
	}
	for _, statement := range []string{
		"UPDATE hosts SET name = ?2 WHERE name = ?1",
		"UPDATE OR REPLACE reports SET host = ?2 WHERE host = ?1",
		"UPDATE OR REPLACE packages SET host = ?2 WHERE host = ?1",
		"UPDATE OR REPLACE machines SET host = ?2 WHERE host = ?1",
	} {
		if _, err := tx.ExecContext(ctx, statement, was, now); err != nil {
			return wrap("rename", was, err)
		}
	}
	return wrap("rename", was, tx.Commit())
}

// ErrLive says that a host is registered and has polled since.
var ErrLive = errors.New("the host is registered, and polls")

// Register records r and returns the registration that it takes the place of, if there is one, with the host's last
// poll. One that the host has polled with stays, and the error is ErrLive, unless replace is true. A host that is
// registered under one of its former names, was, counts as registered. What is recorded is durable.
func (d *DB) Register(
	ctx context.Context, r Registration, replace bool, was ...string,
) (before *Host, err error) {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, wrap("register", r.Host, err)
	}
	defer tx.Rollback()
	for _, name := range append([]string{r.Host}, was...) {
		if before, err = d.host(ctx, tx.QueryRowContext, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil && !replace && !before.Seen.At.Before(before.At) {
		return before, ErrLive
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO hosts (name, secret, user, platform, agent, registered)
		VALUES (?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET secret=excluded.secret, user=excluded.user,
		platform=excluded.platform,
		agent=excluded.agent, registered=excluded.registered`,
		r.Host, r.Secret[:], r.User, r.Platform.String(), r.Agent, r.At.Unix())
	if err == nil { // who reports from now on is another question
		_, err = tx.ExecContext(ctx, "DELETE FROM machines WHERE host = ?", r.Host)
	}
	if err == nil {
		err = tx.Commit()
	}
	return before, wrap("register", r.Host, err)
}
