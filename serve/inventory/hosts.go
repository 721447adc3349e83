package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"io/fs"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// Secret returns the digest of the host's secret, or an error that wraps fs.ErrNotExist: also if its
// registration ended.
func (d *DB) Secret(ctx context.Context, host string) (schema.Digest, error) {
	var b []byte
	if err := d.db.Get(ctx, "SELECT secret FROM hosts WHERE name = $1 AND ended = ''", []any{host}, &b); err != nil {
		return schema.Digest{}, wrap("look up", host, err)
	}
	return sqldb.Digest(b)
}

// Host returns what is known of a host that is or was registered, or an error that wraps fs.ErrNotExist. Reports still
// queued count.
func (d *DB) Host(ctx context.Context, name string) (*Host, error) { return d.host(ctx, d.db, name) }

const selectHosts = `SELECT name, secret, "user", token, platform, agent, registered, ended, ended_by, ended_at, at,
	timestamp, root, report, details, address FROM hosts LEFT JOIN reports ON host = name`

func (d *DB) host(ctx context.Context, db sqldb.Asker, name string) (h *Host, err error) {
	err = d.catchUp(ctx, db)
	d.mu.Lock() // before the database: what leaves the queue in between is then found there
	queued, isQueued := d.queue[name]
	d.mu.Unlock()
	if err == nil {
		err = d.eachHost(ctx, db, " WHERE name = $1", []any{name}, func(found *Host) error {
			h = found
			return nil
		})
	}
	if err == nil && h == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, wrap("look up", name, err)
	}
	d.recollect(h)
	if isQueued {
		h.Seen = queued.after(h.Seen)
	}
	return h, nil
}

// eachHost reads hosts as they are in the database.
func (d *DB) eachHost(ctx context.Context, db sqldb.Asker, which string, args []any, each func(*Host) error) error {
	return db.Each(ctx, selectHosts+which, args, func(scan func(...any) error) error {
		h, err := scanHost(scan)
		if err != nil {
			return err
		}
		return each(h)
	})
}

// scanHost reads a row of selectHosts.
func scanHost(scan func(...any) error) (*Host, error) {
	var h Host
	var secret []byte
	var platform string
	var registered, ended int64
	var at, timestamp, root sql.NullInt64
	var report, details, address sql.NullString
	err := scan(&h.Host, &secret, &h.User, &h.Token, &platform, &h.Agent, &registered, &h.End.How, &h.End.By, &ended,
		&at, &timestamp, &root, &report, &details, &address)
	if err != nil {
		return nil, err
	}
	if h.Secret, err = sqldb.Digest(secret); err != nil {
		return nil, err
	}
	if err := h.Platform.UnmarshalText([]byte(platform)); err != nil {
		return nil, err
	}
	h.At = time.Unix(registered, 0).UTC()
	if h.End.How != "" {
		h.End.At = time.Unix(ended, 0).UTC()
	}
	if report.Valid {
		h.Seen = Seen{At: time.Unix(at.Int64, 0).UTC(), Address: address.String, Timestamp: timestamp.Int64,
			Root: root.Int64}
		if err := json.Unmarshal([]byte(report.String), &h.Seen.Report); err != nil {
			return nil, err
		}
	}
	if details.Valid {
		h.Seen.Report.Details = new(schema.Details)
		if err := json.Unmarshal([]byte(details.String), h.Seen.Report.Details); err != nil {
			return nil, err
		}
	}
	return &h, nil
}

// Rename moves all that is known of a host to its new name, durably. It does nothing if the new name is registered, or
// the old one is not.
func (d *DB) Rename(ctx context.Context, was, now string) error {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	if err := d.flushAsides(ctx); err != nil {
		return err
	}
	return wrap("rename", was, d.db.Write(ctx, func(tx sqldb.Tx) error {
		var taken, known int64
		err := tx.Get(ctx, `SELECT (SELECT count(*) FROM hosts WHERE name = $1), (SELECT count(*) FROM hosts
			WHERE name = $2)`, []any{now, was}, &taken, &known)
		if err != nil || taken > 0 || known == 0 {
			return err
		}
		if err := tx.Exec(ctx, "UPDATE hosts SET name = $2 WHERE name = $1", was, now); err != nil {
			return err
		}
		for _, table := range []string{"reports", "packages", "machines", "past"} {
			if err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE host = $1", now); err != nil {
				return err
			}
			if err := tx.Exec(ctx, "UPDATE "+table+" SET host = $2 WHERE host = $1", was, now); err != nil {
				return err
			}
		}
		_, err = note(ctx, tx, []string{was, now}, d.moved(was, now))
		return err
	}))
}
