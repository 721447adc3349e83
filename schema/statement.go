package schema

import (
	"encoding/json"
	"fmt"

	"bakehouse/schema/plain"
)

// StatementType is the DSSE payload type of a Statement: that of every in-toto Statement.
const StatementType = "application/vnd.in-toto+json"

// PackagePredicate is the in-toto predicate type of a Statement.
const PackagePredicate = "urn:bakehouse:package:v1"

const inTotoStatement = "https://in-toto.io/Statement/v1"

// Statement is what a signature key says: this package is ours. It binds the bytes to the fleet (anchor), so a package
// cannot be carried into another one. One DSSE envelope per key; envelopes are only ever added.
//
// Encoded it is an in-toto Statement v1: the package is its only subject, all else its predicate.
type Statement struct {
	Name     string // as the package manager knows it
	Package  Digest // sha256 of the whole package
	Manifest Digest
	Recipe   RecipeID
	Platform Platform
	Format   Format
	Anchor   Digest
}

// StatementFor is the statement on the package that m describes; manifest is m's digest.
func StatementFor(m *Manifest, manifest Digest) Statement {
	return Statement{Name: m.Name, Package: m.SHA256, Manifest: manifest, Recipe: m.Recipe, Platform: m.Platform,
		Format: m.Format, Anchor: m.Anchor}
}

// Encode returns the payload to sign. Equal statements have equal bytes.
func (s Statement) Encode() ([]byte, error) {
	type object map[string]any
	return json.Marshal(object{
		"_type":         inTotoStatement,
		"subject":       []object{{"name": s.Name, "digest": object{"sha256": s.Package.Hex()}}},
		"predicateType": PackagePredicate,
		"predicate": object{"manifest": s.Manifest, "recipe": s.Recipe, "platform": s.Platform, "format": s.Format,
			"anchor": s.Anchor},
	})
}

// DecodeStatement reads a DSSE payload that a signature has already vouched for. Fields and digests that it does not
// know are ignored, as in-toto has it; those that it knows must be there, under exactly their names.
func DecodeStatement(b []byte) (Statement, error) {
	s, err := decodeStatement(b)
	if err != nil {
		return Statement{}, fmt.Errorf("statement: %w", plain.Error(err, plain.MaxName))
	}
	return s, nil
}

func decodeStatement(b []byte) (s Statement, err error) {
	var kind, predicate string
	var subjects []json.RawMessage
	var body, whole json.RawMessage
	if err := Decode(b, &whole); err != nil {
		return s, err
	}
	err = members(b, member{"_type", &kind}, member{"subject", &subjects}, member{"predicateType", &predicate},
		member{"predicate", &body})
	switch {
	case err != nil:
		return s, err
	case kind != inTotoStatement:
		return s, fmt.Errorf("its type is %.80q, not %s", kind, inTotoStatement)
	case predicate != PackagePredicate:
		return s, fmt.Errorf("its predicate type is %.80q, not %s", predicate, PackagePredicate)
	case len(subjects) != 1:
		return s, fmt.Errorf("it has %d subjects, not one", len(subjects))
	}
	var digests json.RawMessage
	var sum string
	if err := members(subjects[0], member{"name", &s.Name}, member{"digest", &digests}); err != nil {
		return s, fmt.Errorf("subject: %w", err)
	}
	if err := members(digests, member{"sha256", &sum}); err != nil {
		return s, fmt.Errorf("digest of the subject: %w", err)
	}
	if s.Package, err = ParseHex(sum); err != nil {
		return s, fmt.Errorf("digest of the subject: %w", err)
	}
	err = members(body, member{"manifest", &s.Manifest}, member{"recipe", &s.Recipe}, member{"platform", &s.Platform},
		member{"format", &s.Format}, member{"anchor", &s.Anchor})
	if err != nil {
		return s, fmt.Errorf("predicate: %w", err)
	}
	if CheckName(s.Name) != nil || s.Package.IsZero() || s.Manifest.IsZero() || s.Anchor.IsZero() ||
		s.Platform == (Platform{}) || !s.Recipe.Valid() || !s.Format.Valid() {
		return s, fmt.Errorf("on package %s: incomplete", s.Package.Short())
	}
	return s, nil
}

// member is a member of a JSON object, and where its value goes.
type member struct {
	name string
	into any
}

// members reads members that must be there. encoding/json alone would take their names in any case, where other readers
// of a statement see another member.
func members(object []byte, want ...member) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(object, &all); err != nil {
		return err
	}
	for _, m := range want {
		value, ok := all[m.name]
		if !ok {
			return fmt.Errorf("%q is missing", m.name)
		}
		if err := json.Unmarshal(value, m.into); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
