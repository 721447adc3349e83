package status

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/reconcile/source/pattern"
)

// otherContent reads a file and reports whether git would store other bytes for it than the index names.
func (c *comparison) otherContent(t *entry, info fs.FileInfo, isLink bool) (bool, error) {
	if isLink {
		to, err := os.Readlink(c.file(t.name))
		return plumbing.ComputeHash(plumbing.BlobObject, []byte(filepath.ToSlash(to))) != t.hash, err
	}
	if t.size != 0 && uint32(info.Size()) != t.size {
		return true, nil // git does not look further, so no filter counts
	}
	f, err := os.Open(c.file(t.name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	attrs := append(c.attrs[:len(c.attrs):len(c.attrs)], c.info()...)
	get := func(name string) string { return attrs.Get(t.name, name) }
	h := plumbing.NewHasher(plumbing.BlobObject, info.Size())
	if info.Size() > gitdir.MaxHeld {
		if _, err := io.Copy(h, f); err != nil {
			return false, err
		}
		return h.Sum() != t.hash && !c.filtered(get), nil
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	if _, err := h.Write(data); err != nil {
		return false, err
	}
	if h.Sum() == t.hash {
		return false, nil
	}
	if c.filtered(get) || get("working-tree-encoding") != "" {
		return false, nil
	}
	clean := data
	if get("ident") == "true" {
		clean = ident.ReplaceAll(clean, []byte("$$Id$$"))
	}
	if bytes.Contains(clean, []byte("\r\n")) && c.stripsCR(get, clean, t) {
		clean = bytes.ReplaceAll(clean, []byte("\r\n"), []byte("\n"))
	}
	return plumbing.ComputeHash(plumbing.BlobObject, clean) != t.hash, nil
}

var ident = regexp.MustCompile(`\$Id:[^$\n]*\$`)

// info reads the attributes that win over all others.
func (c *comparison) info() pattern.Attributes {
	return c.attributesOf(filepath.Join(c.repo.Common, "info", "attributes"), "")
}

// filtered reports whether git would run a program to store the file.
func (c *comparison) filtered(get func(string) string) bool {
	name := get("filter")
	if name == "" || name == "false" || name == "true" {
		return false
	}
	clean, _ := c.config.Get("filter", name, "clean")
	process, _ := c.config.Get("filter", name, "process")
	return clean != "" || process != ""
}

// stripsCR reports whether git would store lines that end in CR and LF with LF alone.
func (c *comparison) stripsCR(get func(string) string, data []byte, t *entry) bool {
	text := get("text")
	if text == "" {
		text = get("crlf") // as it was called
	}
	auto := text == "auto"
	if text == "" {
		if eol := get("eol"); eol == "lf" || eol == "crlf" {
			return true
		}
		v, _ := c.config.Get("core", "", "autocrlf")
		auto = strings.EqualFold(v, "input") || c.config.Bool("core", "autocrlf", false)
	}
	if !auto {
		return text == "true" || text == "input"
	}
	stored, ok := c.blob(t)
	return !isBinary(data) && !(ok && bytes.Contains(stored, []byte("\r\n")))
}

// isBinary is git's guess: a zero byte, a CR alone, or too much that is not printed.
func isBinary(data []byte) bool {
	printed, other := 0, 0
	for i, b := range data {
		switch {
		case b == 0, b == '\r' && (i+1 == len(data) || data[i+1] != '\n'):
			return true
		case b == '\r', b == '\n':
		case b == 127, b < 32 && b != '\b' && b != '\t' && b != 27 && b != '\f':
			other++
		default:
			printed++
		}
	}
	return printed>>7 < other
}

// blob is what is stored for the entry.
func (c *comparison) blob(t *entry) ([]byte, bool) {
	b, err := object.GetBlob(c.repo.Objects, t.hash)
	if err != nil || b.Size > gitdir.MaxHeld {
		return nil, false
	}
	r, err := b.Reader()
	if err != nil {
		return nil, false
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return data, err == nil
}
