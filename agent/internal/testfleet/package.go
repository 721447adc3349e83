package testfleet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// Spec says what a package holds. Files below bin directories are executable.
type Spec struct {
	Version string
	Format  schema.Format     // empty: tgz
	Shared  map[string]string // in one segment
	Own     map[string]string // literal
	Config  bool              // add the baked settings and the anchor
	Health  []schema.HealthCheck
}

// Package is a package that Give publishes. It may be bent before that.
type Package struct {
	Manifest  *schema.Manifest
	Bytes     []byte
	Signers   []Key             // nil: the fleet's package key
	Statement *schema.Statement // nil: the true one
	segments  map[schema.Digest][]byte
}

// Pack bakes a package. Packages with equal shared files share a segment.
func (f *Fleet) Pack(s Spec) *Package {
	f.t.Helper()
	if s.Format == "" {
		s.Format = schema.Tgz
	}
	own := maps.Clone(s.Own)
	if own == nil {
		own = map[string]string{}
	}
	if s.Config {
		own[schema.ConfigFile], own[schema.AnchorFile] = string(f.Config(nil)), string(f.Anchor)
	}
	if s.Health != nil {
		b, err := json.Marshal(s.Health)
		check(f.t, err)
		own[schema.HealthFile] = string(b)
	}
	var data bytes.Buffer
	z, err := gzip.NewWriterLevel(&data, gzip.BestSpeed)
	check(f.t, err)
	w := tar.NewWriter(z)
	f.dirs(w, s.Shared, own)
	f.write(w, s.Shared)
	check(f.t, w.Flush())
	check(f.t, z.Flush())
	cut := data.Len()
	f.write(w, own)
	check(f.t, w.Close())
	check(f.t, z.Close())

	p := &Package{segments: map[schema.Digest][]byte{}}
	var head []byte
	if s.Format == schema.Deb {
		head = debHead(f, s.Version, data.Len())
	}
	p.Bytes = slices.Concat(head, data.Bytes())
	if s.Format == schema.Deb && len(p.Bytes)%2 == 1 {
		p.Bytes = append(p.Bytes, '\n')
	}
	shared := data.Bytes()[:cut]
	d := schema.DigestOf(shared)
	p.segments[d] = slices.Clone(shared)
	parts := []schema.Part{{Segment: &schema.SegmentRef{Digest: d, Size: int64(cut), Payload: d, PayloadSize: int64(cut)}},
		{Data: p.Bytes[len(head)+cut:]}}
	if len(head) > 0 {
		parts = slices.Insert(parts, 0, schema.Part{Data: head})
	}
	p.Manifest = &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: s.Version,
		Recipe: schema.RecipeID(schema.DigestOf(p.Bytes).Short()), Platform: schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH},
		Format: s.Format, Anchor: schema.DigestOf(f.Anchor), Size: int64(len(p.Bytes)), SHA256: schema.DigestOf(p.Bytes), Parts: parts}
	return p
}

// Config is the baked settings, changed by change if it is not nil.
func (f *Fleet) Config(change func(*schema.AgentConfig)) []byte {
	f.t.Helper()
	c := schema.AgentConfig{Schema: schema.AgentConfigSchema, Fleet: f.Name, Package: "bakehouse-agent", Version: "1", Server: f.URL,
		Certificates: []string{string(f.CA)}, Interval: schema.Duration(time.Hour), Proxy: schema.Proxy{Mode: "none"},
		Keys: []schema.AcceptedKey{{Name: f.Package.Name, Public: f.Package.PEM}}, Threshold: 1}
	if change != nil {
		change(&c)
	}
	b, err := json.Marshal(c)
	check(f.t, err)
	return b
}

// dirs writes all directories first, as dpkg needs them; which of them there are differs between packages only if their
// files' places do.
func (f *Fleet) dirs(w *tar.Writer, sets ...map[string]string) {
	f.t.Helper()
	seen := map[string]bool{}
	for _, files := range sets {
		for name := range files {
			for d := path.Dir(name); d != "/"; d = path.Dir(d) {
				seen[d] = true
			}
		}
	}
	for _, d := range slices.Sorted(maps.Keys(seen)) {
		check(f.t, w.WriteHeader(&tar.Header{Name: "." + d + "/", Typeflag: tar.TypeDir, Mode: 0o755}))
	}
}

func (f *Fleet) write(w *tar.Writer, files map[string]string) {
	f.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := fs.FileMode(0o644)
		if path.Base(path.Dir(name)) == "bin" {
			mode = 0o755
		}
		check(f.t, w.WriteHeader(&tar.Header{Name: "./" + strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg, Mode: int64(mode), Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		check(f.t, err)
	}
}

// debHead is everything of a deb before its data.
func debHead(f *Fleet, version string, size int) []byte {
	var control bytes.Buffer
	z := gzip.NewWriter(&control)
	w := tar.NewWriter(z)
	text := "Package: bakehouse-agent\nVersion: " + version + "\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: test\n"
	check(f.t, w.WriteHeader(&tar.Header{Name: "./control", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}))
	_, err := w.Write([]byte(text))
	check(f.t, err)
	check(f.t, w.Close())
	check(f.t, z.Close())
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	member := func(name string, size int) {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", size)
	}
	member("debian-binary", 4)
	b.WriteString("2.0\n")
	member("control.tar.gz", control.Len())
	b.Write(control.Bytes())
	if control.Len()%2 == 1 {
		b.WriteByte('\n')
	}
	member("data.tar.gz", size)
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}
