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

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// Spec says what a package holds. Files below bin directories are executable.
type Spec struct {
	Version string
	Format  schema.Format     // empty: tgz
	Shared  map[string]string // in one segment
	Own     map[string]string // literal
	Config  bool              // add the baked settings and the anchor
	Change  func(*schema.AgentConfig)
	Health  []schema.HealthCheck
}

// Pack bakes a package. Packages with equal shared files share a segment.
func (f *Fleet) Pack(s Spec) *trusttest.Package {
	f.t.Helper()
	if s.Format == "" {
		s.Format = schema.Tgz
	}
	own := maps.Clone(s.Own)
	if own == nil {
		own = map[string]string{}
	}
	if s.Config {
		own[schema.ConfigFile(runtime.GOOS)] = string(f.Config(s.Change))
		own[schema.AnchorFile(runtime.GOOS)] = string(f.Anchor)
	}
	if s.Health != nil {
		b, err := json.Marshal(s.Health)
		check(f.t, err)
		own[schema.HealthFile(runtime.GOOS)] = string(b)
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

	shared, literal := bytes.Clone(data.Bytes()[:cut]), data.Bytes()[cut:]
	pieces := []trusttest.Piece{{Bytes: shared, Segment: &schema.SegmentRef{}}, {Bytes: literal}}
	if s.Format == schema.Deb {
		head := debHead(f, s.Version, data.Len())
		if (len(head)+data.Len())%2 == 1 {
			pieces[1].Bytes = append(literal, '\n')
		}
		pieces = slices.Insert(pieces, 0, trusttest.Piece{Bytes: head})
	}
	return f.Fleet.Pack(schema.Manifest{Version: s.Version, Format: s.Format,
		Platform: schema.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}}, pieces...)
}

// Config is the baked settings, changed by change if it is not nil.
func (f *Fleet) Config(change func(*schema.AgentConfig)) []byte {
	f.t.Helper()
	c := schema.AgentConfig{Schema: schema.AgentConfigSchema, Fleet: f.Name, Package: "bakehouse-agent", Version: "1",
		Server: f.URL, Certificates: []string{string(f.CA)}, Interval: schema.Duration(time.Hour),
		Proxy: schema.Proxy{Mode: "none"}, Keys: []schema.AcceptedKey{{Name: "release", Public: f.Package.PEM()}},
		Threshold: 1}
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
		check(f.t, w.WriteHeader(&tar.Header{Name: "./" + strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg,
			Mode: int64(mode), Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		check(f.t, err)
	}
}

// debHead is everything of a deb before its data.
func debHead(f *Fleet, version string, size int) []byte {
	var control bytes.Buffer
	z := gzip.NewWriter(&control)
	w := tar.NewWriter(z)
	text := "Package: bakehouse-agent\nVersion: " + version +
		"\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: test\n"
	check(f.t, w.WriteHeader(&tar.Header{Name: "./control", Typeflag: tar.TypeReg, Mode: 0o644,
		Size: int64(len(text))}))
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
