package inventory

import (
	"context"
	"errors"
	"fmt"

	"bakehouse/serve/inventory/sqldb"
)

// Verdict is what servers agree on of the rollout, such as how far a release may go. Body is JSON. Version is 1 for the
// first of a name, and grows by one each time that it changes.
type Verdict struct {
	Name    string
	Version int64
	Body    []byte
}

// ErrVerdictMoved says that another server has changed a verdict meanwhile.
var ErrVerdictMoved = errors.New("another server has changed it meanwhile")

// Verdicts lists them, by name.
func (d *DB) Verdicts(ctx context.Context) (list []Verdict, err error) {
	err = d.db.Each(ctx, "SELECT name, version, body FROM verdicts ORDER BY name", nil,
		func(scan func(...any) error) error {
			var v Verdict
			err := scan(&v.Name, &v.Version, &v.Body)
			list = append(list, v)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("inventory: verdicts: %w", err)
	}
	return list, nil
}

// Decide keeps v, durably, in the place of the version before it: of none if Version is 1. If that is not what is kept,
// it is ErrVerdictMoved.
func (d *DB) Decide(ctx context.Context, v Verdict) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		var n int64
		var err error
		if v.Version == 1 {
			n, err = tx.Change(ctx, `INSERT INTO verdicts (name, version, body) VALUES ($1, 1, $2)
				ON CONFLICT DO NOTHING`, v.Name, v.Body)
		} else {
			n, err = tx.Change(ctx, "UPDATE verdicts SET version = $2, body = $3 WHERE name = $1 AND version = $2 - 1",
				v.Name, v.Version, v.Body)
		}
		if err == nil && n == 0 {
			err = ErrVerdictMoved
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("inventory: verdict %.40q: %w", v.Name, err)
	}
	return nil
}

// Undecide forgets verdicts.
func (d *DB) Undecide(ctx context.Context, names ...string) error {
	err := d.db.Write(ctx, func(tx sqldb.Tx) error {
		return tx.Exec(ctx, "DELETE FROM verdicts WHERE name IN ("+d.db.Items("$1")+")", sqldb.List(names))
	})
	if err != nil {
		return fmt.Errorf("inventory: verdicts: %w", err)
	}
	return nil
}
