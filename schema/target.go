package schema

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Target is the TUF custom data of HOST/package. The target's own length and sha256 are the newest package's. Fields
// are in the order of canonical JSON, here and in Candidate, so that a bin is written in it: readers verify such a file
// as it stands.
type Target struct {
	Manifest Digest      `json:"manifest"`
	Older    []Candidate `json:"older,omitempty"`
	Recipe   RecipeID    `json:"recipe"`
	Release  int64       `json:"release"`        // of the fleet, when this digest was first given to this host
	Ring     string      `json:"ring,omitempty"` // absent: hold
	Selected bool        `json:"selected,omitempty"`
	Since    time.Time   `json:"since"` // whole seconds, UTC
	Site     string      `json:"site,omitempty"`
	// Names that the host had before: who is registered under one of them, and finds no package for it, is this host.
	// Nothing but this signed word changes a host's name.
	Was []string `json:"was,omitempty"`
}

// MaxWas is how many former names a host may have.
const MaxWas = 8

// MaxOlder is how many older candidates a target keeps, so that a ring with a delay moves even when merges come daily.
const MaxOlder = 2

// Candidate is one package that a host may be given.
type Candidate struct {
	Length   int64     `json:"length"`
	Manifest Digest    `json:"manifest"`
	Recipe   RecipeID  `json:"recipe"`
	Release  int64     `json:"release"`
	SHA256   Digest    `json:"sha256"`
	Since    time.Time `json:"since"`
}

// Assignment is a host's verified target: the custom data together with the signed length and hash.
type Assignment struct {
	Host   string
	SHA256 Digest
	Length int64
	Target
}

// Validate checks an assignment's form; candidates must be in falling order of release.
func (a *Assignment) Validate() error {
	if err := CheckHostName(a.Host); err != nil {
		return err
	}
	if len(a.Older) > MaxOlder {
		return fmt.Errorf("target of %s: %d older candidates, at most %d", a.Host, len(a.Older), MaxOlder)
	}
	if len(a.Was) > MaxWas {
		return fmt.Errorf("target of %s: %d former names, at most %d", a.Host, len(a.Was), MaxWas)
	}
	for _, name := range a.Was {
		if err := CheckHostName(name); err != nil || name == a.Host {
			return fmt.Errorf("target of %s: former name %.80q", a.Host, name)
		}
	}
	last := int64(-1)
	for i := -1; i < len(a.Older); i++ {
		c := a.Newest()
		if i >= 0 {
			c = a.Older[i]
		}
		switch {
		case c.SHA256.IsZero() || c.Manifest.IsZero() || !c.Recipe.Valid():
			return fmt.Errorf("target of %s: release %d is incomplete", a.Host, c.Release)
		case c.Length < 1 || c.Length > MaxPackage:
			return fmt.Errorf("target of %s: length %d", a.Host, c.Length)
		case c.Release < 1 || last >= 0 && c.Release >= last:
			return fmt.Errorf("target of %s: release %d after %d", a.Host, c.Release, last)
		case c.Since.IsZero():
			return errors.New("target of " + a.Host + ": no since")
		}
		last = c.Release
	}
	return nil
}

// Equal reports whether a and b say the same.
func (a *Assignment) Equal(b *Assignment) bool {
	return a.Host == b.Host && a.Site == b.Site && a.Ring == b.Ring && a.Selected == b.Selected &&
		slices.Equal(a.Was, b.Was) &&
		a.Newest().equal(b.Newest()) && slices.EqualFunc(a.Older, b.Older, Candidate.equal)
}

func (c Candidate) equal(d Candidate) bool {
	same := c.Since.Equal(d.Since)
	c.Since, d.Since = time.Time{}, time.Time{}
	return same && c == d
}

// Candidates lists what the host may be given, newest first.
func (a *Assignment) Candidates() []Candidate {
	return append([]Candidate{a.Newest()}, a.Older...)
}

// Newest is the first of the candidates.
func (a *Assignment) Newest() Candidate {
	return Candidate{SHA256: a.SHA256, Length: a.Length, Manifest: a.Manifest, Recipe: a.Recipe,
		Release: a.Release, Since: a.Since}
}

// Release is the target "release": where the published state came from.
type Release struct {
	Schema int       `json:"schema"`
	Number int64     `json:"number"`
	Commit string    `json:"commit"`
	Tree   string    `json:"tree"`
	Tool   string    `json:"tool"` // version of bakehouse
	Bake   int       `json:"bake"`
	Issued time.Time `json:"issued"`
}
