package schema

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
)

// Contents lists the files of a package, or of a segment that packages share, for people: a manifest lists parts. It is
// what the publisher says and only servers read it; the package's bytes are what counts.
type Contents struct {
	Schema  int             `json:"schema"`
	Plugins []string        `json:"plugins,omitempty"` // of a package, sorted
	Files   []ContentsEntry `json:"files"`             // of a package those of its own, by path
	Shared  []Digest        `json:"shared,omitempty"`  // segments with the other files, each with its own Contents
}

// ContentsEntry is a file of a package, or a directory that a plugin has. Those that files need are not listed.
type ContentsEntry struct {
	Path   string      `json:"path"`             // of a directory, with a slash at its end
	Plugin string      `json:"plugin,omitempty"` // that it comes from; empty: made for the package
	Mode   fs.FileMode `json:"mode"`             // permissions
	Owner  string      `json:"owner,omitempty"`  // user:group; empty: root's
	Link   string      `json:"link,omitempty"`   // of a symbolic link, its target: Size and SHA256 are of that
	Size   int64       `json:"size"`
	SHA256 Digest      `json:"sha256"`
}

const (
	ContentsSchema = 1
	MaxContents    = 16 << 20 // bytes, encoded
)

// Encode is the object that the store holds: gzip of JSON.
func (c *Contents) Encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

// DecodeContents reads what Encode writes.
func DecodeContents(b []byte) (*Contents, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("contents: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, MaxContents+1))
	if err != nil {
		return nil, fmt.Errorf("contents: %w", err)
	}
	if len(text) > MaxContents {
		return nil, fmt.Errorf("contents: longer than %d bytes", MaxContents)
	}
	var c Contents
	if err := Decode(text, &c); err != nil {
		return nil, fmt.Errorf("contents: %w", err)
	}
	if c.Schema != ContentsSchema {
		return nil, fmt.Errorf("contents: schema %d, this program reads %d", c.Schema, ContentsSchema)
	}
	return &c, nil
}
