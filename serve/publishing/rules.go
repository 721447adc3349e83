package publishing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// Rules are what a server admits into its store:
//
//	everything    is of a kind that is known, within its bounds, and what its key promises: package kinds
//	roots         follow from the newest that is there, and are signed as it says
//	timestamps    are above the head, and with the snapshot, targets and policy that they lead to they verify from there
//
// So nobody without the fleet's keys can take the number of a root or of a timestamp, or make the store's head one
// that no server and no host can verify.
type Rules struct {
	Store  store.Store
	Anchor []byte // the root from which the server verifies
}

// Admit is Handler's.
func (u *Rules) Admit(ctx context.Context, key string, r io.Reader) (io.Reader, error) {
	in, err := kinds.Checked(key, r)
	if err != nil {
		return nil, refusal(err)
	}
	timestamp := strings.HasPrefix(key, schema.TimestampDir)
	role, _, err := kinds.Metadata(key)
	if !timestamp && (err != nil || role != "root") {
		return refusing{in}, nil
	}
	b, in, err := whole(in)
	if err != nil {
		return nil, err
	}
	if timestamp {
		return in, u.timestamp(ctx, key, b)
	}
	return in, u.follows(ctx, key, b)
}

// follows holds that a root is the next after those that are there.
func (u *Rules) follows(ctx context.Context, key string, b []byte) error {
	anchor, err := trust.ParseRoot(u.Anchor)
	if err != nil {
		return err
	}
	roots, err := store.Roots(ctx, u.Store, u.Anchor, int(anchor.Signed.Version))
	if err != nil {
		return err
	}
	next, err := trust.VerifyRoots(append(roots, b))
	if err == nil && schema.MetadataKey("root", next.Signed.Version) != key {
		err = fmt.Errorf("is version %d", next.Signed.Version)
	}
	if err != nil {
		return refuse(fault.Hint(fmt.Errorf("%s does not follow from the roots of the store: %w", key, err),
			"is that server the one of this fleet?"))
	}
	return nil
}

// timestamp holds that one is newer than the head, and leads to what verifies. Bins are left to who serves them.
func (u *Rules) timestamp(ctx context.Context, key string, b []byte) error {
	head, err := store.Head(ctx, u.Store)
	if err != nil {
		return err
	}
	if v, _ := schema.ParseTimestampKey(key); v <= head {
		return refuse(fault.Hint(fmt.Errorf("%s is not newer than the store's head, timestamp %d", key, head),
			"another published meanwhile: run bakehouse reconcile again"))
	}
	source := store.Source(u.Store, func(context.Context) (int64, error) { return head, nil })
	client, err := trust.Open("", u.Anchor, nil)
	if err != nil {
		return err
	}
	client.AllowExpired() // what hosts think of it is theirs
	err = client.Refresh(ctx, source, b)
	if err != nil && !fault.IsRefusal(err) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, got := client.Versions(); err == nil && schema.TimestampKey(got) != key {
		err = fmt.Errorf("is version %d", got)
	}
	if err != nil {
		return refuse(fault.Hint(fmt.Errorf("%s does not verify with the roots of the store: %w", key, err),
			"is that server the one of this fleet?"))
	}
	return nil
}
