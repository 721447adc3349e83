package schema

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"bakehouse/schema/fault"
)

// ManifestSchema is the version of the manifest's form.
const ManifestSchema = 2

const maxParts = 4096

// packageVersion is what the package managers' versions have in common, and safe to print.
var packageVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,127}$`)

// Manifest says how a package is put together: literal bytes and whole segments, in order. Size and SHA256 are of the
// whole package, which is also what TUF signs, so a manifest can waste a host's time but never change a byte.
//
// Its encoded form is one line of JSON, in which a literal stands as its length in bytes, and behind it the literals as
// they are: they are compressed already, and as base64 they would cost a third more.
type Manifest struct {
	Schema   int      `json:"schema"`
	Bake     int      `json:"bake"`    // bake version: same inputs and bake version, same bytes
	Name     string   `json:"name"`    // as the package manager knows it
	Version  string   `json:"version"` // as the package manager knows it
	Recipe   RecipeID `json:"recipe"`
	Platform Platform `json:"platform"`
	Format   Format   `json:"format"`
	Anchor   Digest   `json:"anchor"` // of the anchor root's bytes
	Needs    Needs    `json:"needs,omitzero"`
	Size     int64    `json:"size"`
	SHA256   Digest   `json:"sha256"`
	Parts    []Part   `json:"-"`
}

// Needs are what a package takes for granted of its host. They are looked for before anything of it is fetched.
type Needs struct {
	Users    []string `json:"users,omitempty"`    // that are there, or can be made
	Groups   []string `json:"groups,omitempty"`   // likewise
	Programs []string `json:"programs,omitempty"` // by name, to be found as its scripts find them
}

// IsZero reports whether nothing is needed.
func (n Needs) IsZero() bool { return len(n.Users)+len(n.Groups)+len(n.Programs) == 0 }

// Part is either literal bytes or a whole segment.
type Part struct {
	Data    []byte
	Segment *SegmentRef
}

// SegmentRef names a segment: a stretch of compressed archive that many packages share. Digest and Size are of the
// bytes as they stand in the package; Payload and PayloadSize of what they inflate to. In a manifest Payload is zero: a
// host has no use for it, and it would be a fifth of what a further package costs.
type SegmentRef struct {
	Digest      Digest `json:"digest"`
	Size        int64  `json:"size"`
	Payload     Digest `json:"payload,omitzero"`
	PayloadSize int64  `json:"payloadSize"`
}

// encodedManifest is the line of JSON.
type encodedManifest struct {
	*Manifest
	Parts []encodedPart `json:"parts"`
}

type encodedPart struct {
	Literal int         `json:"literal,omitempty"` // length in bytes
	Segment *SegmentRef `json:"segment,omitempty"`
}

// Validate checks everything about m that can be checked without its segments.
func (m *Manifest) Validate() error {
	switch {
	case m.Schema != ManifestSchema:
		return fmt.Errorf("manifest: schema %d, this program reads %d", m.Schema, ManifestSchema)
	case m.Bake < 1:
		return fmt.Errorf("manifest: bake version %d", m.Bake)
	case CheckName(m.Name) != nil:
		return fmt.Errorf("manifest: package name %.80q", m.Name)
	case !packageVersion.MatchString(m.Version):
		return fmt.Errorf("manifest: package version %.80q", m.Version)
	case !m.Recipe.Valid():
		return fmt.Errorf("manifest: recipe %.80q is not 16 hex digits", m.Recipe)
	case m.Platform == Platform{}:
		return errors.New("manifest: no platform")
	case !m.Format.Valid():
		return fmt.Errorf("manifest: format %.80q", m.Format)
	case m.Anchor.IsZero() || m.SHA256.IsZero():
		return errors.New("manifest: a digest is missing")
	case m.Size < 1 || m.Size > MaxPackage:
		return fmt.Errorf("manifest: size %d is outside 1 to %d", m.Size, int64(MaxPackage))
	case len(m.Parts) == 0 || len(m.Parts) > maxParts:
		return fmt.Errorf("manifest: %d parts, outside 1 to %d", len(m.Parts), maxParts)
	}
	for _, name := range slices.Concat(m.Needs.Users, m.Needs.Groups, m.Needs.Programs) {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("manifest: needs: %w", err)
		}
	}
	var sum int64
	for i, p := range m.Parts {
		if (len(p.Data) > 0) == (p.Segment != nil) {
			return fmt.Errorf("manifest: part %d is not exactly one of data and segment", i)
		}
		n := int64(len(p.Data))
		if s := p.Segment; s != nil {
			if s.Digest.IsZero() || s.Size < 1 || s.PayloadSize < 1 {
				return fmt.Errorf("manifest: part %d: incomplete segment", i)
			}
			n = s.Size
		}
		// Compared before adding: a huge size must not overflow into a plausible sum.
		if n > m.Size-sum {
			return fmt.Errorf("manifest: parts exceed the package's %d bytes", m.Size)
		}
		sum += n
	}
	if sum != m.Size {
		return fmt.Errorf("manifest: parts add up to %d of %d bytes", sum, m.Size)
	}
	return nil
}

// Segments lists the distinct segments in order of first use.
func (m *Manifest) Segments() []SegmentRef {
	var refs []SegmentRef
	seen := map[Digest]bool{}
	for _, p := range m.Parts {
		if p.Segment != nil && !seen[p.Segment.Digest] {
			seen[p.Segment.Digest] = true
			refs = append(refs, *p.Segment)
		}
	}
	return refs
}

// Encode validates m and returns its encoded form and that form's digest, by which manifests are addressed.
func (m *Manifest) Encode() ([]byte, Digest, error) {
	if err := m.Validate(); err != nil {
		return nil, Digest{}, err
	}
	b, err := m.Marshal()
	if err != nil {
		return nil, Digest{}, err
	}
	if len(b) > MaxManifest {
		return nil, Digest{}, fmt.Errorf("manifest: %d bytes exceed the limit of %d", len(b), MaxManifest)
	}
	return b, DigestOf(b), nil
}

// Marshal is Encode without its checks: a manifest that is wrong is not read again.
func (m *Manifest) Marshal() ([]byte, error) {
	e := encodedManifest{Manifest: m, Parts: make([]encodedPart, len(m.Parts))}
	for i, p := range m.Parts {
		e.Parts[i] = encodedPart{len(p.Data), p.Segment}
	}
	b, err := json.Marshal(e)
	b = append(b, '\n')
	for _, p := range m.Parts {
		b = append(b, p.Data...)
	}
	return b, err
}

// decode is the inverse of Encode, checks included.
func (m *Manifest) decode(b []byte) error {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return errors.New("no end of its first line")
	}
	e := encodedManifest{Manifest: m}
	if err := Decode(line, &e); err != nil {
		return err
	}
	for i, p := range e.Parts {
		if p.Literal < 0 || p.Literal > len(rest) {
			return fmt.Errorf("part %d: a literal of %d bytes, where %d are left", i, p.Literal, len(rest))
		}
		part := Part{Segment: p.Segment}
		if p.Literal > 0 {
			part.Data, rest = rest[:p.Literal:p.Literal], rest[p.Literal:]
		}
		m.Parts = append(m.Parts, part)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes behind its last literal", len(rest))
	}
	return m.Validate()
}

// DecodeManifest reads the gzip that the store and the wire carry, of at most MaxManifest bytes inflated. They must have
// the digest want, so whatever is parsed is already known to be the right bytes; other bytes are a refusal.
func DecodeManifest(packed []byte, want Digest) (*Manifest, error) {
	var b []byte
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(z, MaxManifest+1))
	}
	if err == nil && len(b) > MaxManifest {
		err = fmt.Errorf("it inflates to more than %d bytes", MaxManifest)
	}
	if err != nil {
		return nil, &fault.Fault{Err: fmt.Errorf("manifest %s is altered: %w", want, err), Refusal: true}
	}
	if got := DigestOf(b); got != want {
		return nil, &AlteredError{Object: "manifest", Want: want, Got: got}
	}
	var m Manifest
	if err := m.decode(b); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", want.Short(), err)
	}
	return &m, nil
}

// Assemble writes the package to w, opening each segment as it comes, in constant memory. Every segment's size and
// digest and the whole package's are checked on the way; the caller must discard what was written if an error is
// returned.
func (m *Manifest) Assemble(w io.Writer, open func(SegmentRef) (io.ReadCloser, error)) error {
	if err := m.Validate(); err != nil {
		return err
	}
	whole := sha256.New()
	out := io.MultiWriter(w, whole)
	for _, p := range m.Parts {
		if p.Segment == nil {
			if _, err := out.Write(p.Data); err != nil {
				return err
			}
			continue
		}
		if err := copySegment(out, *p.Segment, open); err != nil {
			return err
		}
	}
	if got := Digest(whole.Sum(nil)); got != m.SHA256 {
		return &AlteredError{Object: "package", Want: m.SHA256, Got: got}
	}
	return nil
}

func copySegment(w io.Writer, ref SegmentRef, open func(SegmentRef) (io.ReadCloser, error)) error {
	r, err := open(ref)
	if err != nil {
		return fmt.Errorf("segment %s: %w", ref.Digest.Short(), err)
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, ref.Size+1))
	if err != nil {
		return fmt.Errorf("segment %s: %w", ref.Digest.Short(), err)
	}
	if got := Digest(h.Sum(nil)); n != ref.Size || got != ref.Digest {
		return &AlteredError{Object: "segment", Want: ref.Digest, Got: got}
	}
	return nil
}

// AlteredError says that stored or received bytes are not those that were signed.
type AlteredError struct {
	Object    string // what kind of thing: segment, manifest, package, target
	Want, Got Digest
}

// Refused says that altered bytes are a refusal (package fault), not something merely broken.
func (e *AlteredError) Refused() bool { return true }

func (e *AlteredError) Error() string {
	return fmt.Sprintf("%s %s is altered: its bytes have digest %s", e.Object, e.Want, e.Got)
}
