package schema

import "fmt"

// StatementType is the DSSE payload type of a Statement.
const StatementType = "application/vnd.bakehouse.package.v1+json"

// Statement is what a signature key says: this package is ours. It binds the bytes to the fleet (anchor), so a package
// cannot be carried into another one. One DSSE envelope per key; envelopes are only ever added.
type Statement struct {
	Package  Digest   `json:"package"` // sha256 of the whole package
	Manifest Digest   `json:"manifest"`
	Recipe   RecipeID `json:"recipe"`
	Platform Platform `json:"platform"`
	Format   Format   `json:"format"`
	Anchor   Digest   `json:"anchor"`
}

// StatementFor is the statement on the package that m describes; manifest is m's digest.
func StatementFor(m *Manifest, manifest Digest) Statement {
	return Statement{Package: m.SHA256, Manifest: manifest, Recipe: m.Recipe, Platform: m.Platform,
		Format: m.Format, Anchor: m.Anchor}
}

// DecodeStatement reads a DSSE payload that a signature has already vouched for.
func DecodeStatement(b []byte) (Statement, error) {
	var s Statement
	if err := Decode(b, &s); err != nil {
		return s, fmt.Errorf("statement: %w", err)
	}
	if s.Package.IsZero() || s.Manifest.IsZero() || s.Anchor.IsZero() || s.Platform == (Platform{}) || !s.Recipe.Valid() || !s.Format.Valid() {
		return s, fmt.Errorf("statement on %s: incomplete", s.Package.Short())
	}
	return s, nil
}
