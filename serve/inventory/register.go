package inventory

import (
	"context"
	"errors"
	"io/fs"

	"bakehouse/schema"
	"bakehouse/serve/inventory/sqldb"
)

// ErrLive says that a host is registered and has polled since.
var ErrLive = errors.New("the host is registered, and polls")

// Live reports whether the host polls with its registration: another does not take its place just so.
func (h *Host) Live() bool { return h.End.How == "" && !h.Seen.At.Before(h.At) }

// Claim is what speaks for a registration that takes the place of another one.
type Claim struct {
	Replace bool          // whoever may decide that says so
	Secret  schema.Digest // of the secret that the host has; zero: it has none
}

func (c Claim) proves(h *Host) bool {
	return !c.Secret.IsZero() && c.Secret == h.Secret && h.End.How == ""
}

// Register records r and returns the registration that it takes the place of, if there is one, with the host's last
// poll. One that the host has polled with stays, and the error is ErrLive, unless c says otherwise. A host that is
// registered under one of its former names, was, counts as registered. What is recorded is durable.
//
// If r names a join token, a use of it is taken with the registration or not at all; the error is ErrTokenSpent if
// there is none left. Asking again takes no second use: a host whose answer was lost has not polled since.
func (d *DB) Register(ctx context.Context, r Registration, c Claim, was ...string) (before *Host, err error) {
	d.flushing.Lock()
	defer d.flushing.Unlock()
	err = d.db.Write(ctx, func(tx sqldb.Tx) (err error) {
		before, err = d.register(ctx, tx, r, c, was)
		return err
	})
	if errors.Is(err, ErrLive) {
		return before, ErrLive
	}
	if err == nil {
		d.asides.DropMachines(r.Host)
	}
	return before, wrap("register", r.Host, err)
}

func (d *DB) register(
	ctx context.Context, tx sqldb.Tx, r Registration, c Claim, was []string,
) (before *Host, err error) {
	for _, name := range append([]string{r.Host}, was...) {
		if before, err = d.host(ctx, tx, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if before != nil && before.Live() && !c.Replace && !c.proves(before) {
		return before, ErrLive
	}
	again := before != nil && before.Token == r.Token && before.End.How == "" && !before.Live()
	if r.Token != "" && !again {
		if err := useToken(ctx, tx, r.Token, r.At); err != nil {
			return before, wrapToken("use", r.Token, err)
		}
	}
	err = tx.Exec(ctx, `INSERT INTO hosts (name, secret, "user", token, platform, agent, registered)
		VALUES ($1,$2,$3,$4,$5,$6,$7) ON CONFLICT (name) DO UPDATE SET secret=excluded.secret, "user"=excluded."user",
		token=excluded.token, platform=excluded.platform, agent=excluded.agent, registered=excluded.registered,
		ended='', ended_by='', ended_at=0`,
		r.Host, r.Secret[:], r.User, r.Token, r.Platform.String(), r.Agent, r.At.Unix())
	if err != nil {
		return before, err
	}
	// Who reports from now on is another question.
	if err := tx.Exec(ctx, "DELETE FROM machines WHERE host = $1", r.Host); err != nil {
		return before, err
	}
	_, err = note(ctx, tx, []string{r.Host}, nil)
	return before, err
}
