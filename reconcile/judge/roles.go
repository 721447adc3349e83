package judge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/reconcile/publish"
)

// compare says what of next is not as n has it, which follows from prev: contents, and then each role, byte by byte but
// for signatures. If the store lacks states between the two, renewals may have come between, of which only bounds are
// known.
func compare(
	ctx context.Context, reader *publish.Reader, now time.Time, n *publish.Next, prev, next *publish.State,
) ([]Entry, error) {
	found, err := contents(n, next)
	if err != nil {
		return nil, err
	}
	explained := map[string]bool{} // roles of which contents has said what differs
	for _, e := range found {
		if e.Host == "" {
			explained[metadata.TARGETS] = true
		} else {
			explained[n.BinOf(e.Host)] = true
		}
	}
	c := comparison{n: n, prev: prev, next: next, explained: explained, found: found, now: now,
		reader: reader}
	low, _ := n.Versions(metadata.TIMESTAMP)
	c.adjacent = next.Head() == low
	var again []string
	for _, role := range n.Roles() {
		if c.signed(role) {
			again = append(again, role)
		}
		if err := c.role(ctx, role); err != nil {
			return nil, err
		}
	}
	if err := c.role(ctx, metadata.SNAPSHOT); err != nil {
		return nil, err
	}
	if err := c.role(ctx, metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	if c.adjacent {
		c.choice(again)
	}
	return c.found, nil
}

type comparison struct {
	reader     *publish.Reader
	n          *publish.Next
	prev, next *publish.State
	now        time.Time
	adjacent   bool // nothing came between
	explained  map[string]bool
	found      []Entry
}

func (c *comparison) add(field, format string, args ...any) {
	c.found = append(c.found, Entry{"", field, fmt.Sprintf(format, args...)})
}

// signed reports whether the role was signed since the state before.
func (c *comparison) signed(role string) bool {
	return c.prev.Version(role) != c.next.Version(role) || c.prev.Sum(role) != c.next.Sum(role)
}

func (c *comparison) role(ctx context.Context, role string) error {
	if role != metadata.TIMESTAMP && !c.signed(role) {
		return nil
	}
	version := c.next.Version(role)
	if low, high := c.n.Versions(role); version < low || c.adjacent && version > high {
		c.add("version", "%s has version %d, and %d follows", role, version, low)
	}
	expires, want := c.next.Expires(role), c.n.Expires(role)
	latest := want.Add(c.now.Sub(c.n.Time) + clockSlack) // renewed just now
	if c.adjacent && !expires.Equal(want) || expires.Before(want) || expires.After(latest) {
		c.add("expires", "%s expires at %s, and %s follows", role, stamp(expires), stamp(want))
	}
	if c.explained[role] {
		return nil
	}
	got, err := c.reader.Says(ctx, c.next, role)
	if err != nil {
		return err
	}
	says, err := c.n.Says(role, c.next)
	if err == nil && !bytes.Equal(got, says) {
		c.add(role, "it says something else than follows")
	}
	return err
}

// choice sees to it that those roles were signed again that had to be, and no others. A run that holds no keys for
// targets leaves what it would merely renew.
func (c *comparison) choice(again []string) {
	var due []string
	for _, role := range c.n.Roles() {
		if c.n.Signs(role) {
			due = append(due, role)
		}
	}
	if !slices.Equal(again, due) && (len(again) > 0 || !c.n.Renews()) {
		extra := slices.DeleteFunc(slices.Clone(again), c.n.Signs)
		missing := slices.DeleteFunc(slices.Clone(due), func(role string) bool { return slices.Contains(again, role) })
		if len(extra) > 0 {
			c.add("roles", "%s signed again without need", list(extra))
		}
		if len(missing) > 0 {
			c.add("roles", "%s not signed again", list(missing))
		}
	}
	if signed := c.signed(metadata.SNAPSHOT); signed != (len(again) > 0) && signed != c.n.Signs(metadata.SNAPSHOT) {
		c.add("roles", "whether the snapshot was signed again does not follow")
	}
}

const maxListed = 5

func list(roles []string) string {
	verb := "were"
	if len(roles) == 1 {
		verb = "was"
	}
	if n := len(roles) - maxListed; n > 0 {
		roles = append(roles[:maxListed:maxListed], fmt.Sprintf("%d more", n))
	}
	return strings.Join(roles, ", ") + " " + verb
}
