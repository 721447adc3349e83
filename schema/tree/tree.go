// Package tree names every role file of a published state by one hash.
//
// A fleet's snapshot lists its bins by version alone, because hashes would double what each host reads at each change.
// So that two readers of one snapshot cannot be shown different files, its signed part carries the root of a Merkle
// tree (RFC 6962, SHA-256) over a line for targets and for each bin, in order of their names:
//
//	ROLE VERSION SHA256
//
// The lines are an object of the store, by the tree's root. Who reads all bins compares each with its line; a reader of
// one bin needs only the hashes on the way from its line to the root.
package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"

	"bakehouse/schema"
)

// Line is the file of a role in one version.
type Line struct {
	Role    string
	Version int64
	SHA256  schema.Digest // of the file, signatures included
}

func (l Line) String() string {
	return l.Role + " " + strconv.FormatInt(l.Version, 10) + " " + l.SHA256.Hex()
}

// Tree is the lines of a published state, in byte order of roles.
type Tree []Line

// Of makes a tree of lines in any order; it keeps the slice.
func Of(lines []Line) Tree {
	// By sort, which makes no code of its own for each type: the host program's size is a promise.
	sort.Slice(lines, func(i, j int) bool { return lines[i].Role < lines[j].Role })
	return lines
}

// Encode is the object that the store holds: each line, ended by a line feed.
func (t Tree) Encode() []byte {
	var b bytes.Buffer
	for _, l := range t {
		b.WriteString(l.String())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Decode reads what Encode writes, and nothing else: one tree has one form. root is what a snapshot signs.
func Decode(b []byte, root schema.Digest) (Tree, error) {
	var t Tree
	for n := 1; len(b) > 0; n++ {
		text, rest, ended := bytes.Cut(b, []byte("\n"))
		l, err := parse(string(text))
		switch {
		case !ended:
			return nil, errors.New("the last line of the tree is cut short")
		case err != nil:
			return nil, fmt.Errorf("line %d of the tree: %w", n, err)
		case len(t) > 0 && t[len(t)-1].Role >= l.Role:
			return nil, fmt.Errorf("line %d of the tree: not in order", n)
		}
		t, b = append(t, l), rest
	}
	if got := t.Root(); got != root {
		return nil, &schema.AlteredError{Object: "tree", Want: root, Got: got}
	}
	return t, nil
}

func parse(s string) (l Line, err error) {
	f := strings.Split(s, " ")
	if len(f) != 3 {
		return l, errors.New("want ROLE VERSION SHA256")
	}
	l.Role = f[0]
	if l.Version, err = strconv.ParseInt(f[1], 10, 64); err == nil {
		l.SHA256, err = schema.ParseHex(f[2])
	}
	if err == nil && (l.Role == "" || l.Version < 1 || l.String() != s) {
		err = errors.New("want ROLE VERSION SHA256")
	}
	return l, err
}

// Line returns the line of a role.
func (t Tree) Line(role string) (Line, bool) {
	i, ok := slices.BinarySearchFunc(t, role, func(l Line, role string) int { return strings.Compare(l.Role, role) })
	if !ok {
		return Line{}, false
	}
	return t[i], true
}

// Root is the Merkle Tree Hash of the lines, each without its line feed (RFC 6962, section 2.1).
func (t Tree) Root() schema.Digest {
	leaves := make([]schema.Digest, len(t))
	for i, l := range t {
		leaves[i] = leaf([]byte(l.String()))
	}
	return root(leaves)
}

func root(leaves []schema.Digest) schema.Digest {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1 << (bits.Len(uint(n-1)) - 1) // the largest power of two below n
		return node(root(leaves[:k]), root(leaves[k:]))
	}
}

// The prefixes keep a leaf from being read as a node.
func leaf(b []byte) schema.Digest { return sha256.Sum256(append([]byte{0}, b...)) }

func node(left, right schema.Digest) schema.Digest {
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// field is what a fleet's snapshot has in its signed part, beside TUF's fields.
const field = "bakehouse"

// Sign puts the root into a snapshot's unknown fields, as go-tuf keeps them.
func Sign(fields map[string]any, root schema.Digest) map[string]any {
	if fields == nil {
		fields = map[string]any{}
	}
	fields[field] = map[string]any{"tree": base64.StdEncoding.EncodeToString(root[:])}
	return fields
}

// Signed reads the root that a snapshot's unknown fields carry.
func Signed(fields map[string]any) (root schema.Digest, err error) {
	b, err := json.Marshal(fields[field])
	if err != nil {
		return root, err
	}
	var f struct {
		Tree []byte `json:"tree"`
	}
	if err := json.Unmarshal(b, &f); err != nil || len(f.Tree) != len(root) {
		return root, errors.New("it names no tree of the bins' files")
	}
	return schema.Digest(f.Tree), nil
}
