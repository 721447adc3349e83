package bake_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// memory is a store in memory, which a test may alter.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) Open(_ context.Context, key string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m *memory) Create(_ context.Context, key string, r io.Reader) error {
	if err := schema.CheckKey(key); err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return fmt.Errorf("%s: %w", key, fs.ErrExist)
	}
	m.objects[key] = b
	return nil
}

// keys lists the objects below a prefix.
func (m *memory) keys(prefix string) (keys []string) {
	for k := range m.objects {
		if len(k) > len(prefix) && k[:len(prefix)] == prefix {
			keys = append(keys, k)
		}
	}
	return keys
}

// repo is the files that recipes name; the host program is at "program".
type repo map[string][]byte

func (r repo) Open(f fleet.File, _ schema.Platform) (io.ReadCloser, error) {
	name := f.Repo
	if f.Program {
		name = "program"
	}
	b, ok := r[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r repo) file(path string, mode fs.FileMode, content []byte) fleet.File {
	r[path] = content
	return fleet.File{Path: path, Mode: mode, SHA256: schema.DigestOf(content), Size: int64(len(content)), Repo: path}
}

func (r repo) program(path string, content []byte) fleet.File {
	r["program"] = content
	return fleet.File{Path: path, Mode: 0o755, SHA256: schema.DigestOf(content), Size: -1, Program: true}
}

func own(path string, mode fs.FileMode, content string) fleet.File {
	return fleet.File{Path: path, Mode: mode, SHA256: schema.DigestOf([]byte(content)), Size: int64(len(content)), Content: []byte(content)}
}

var (
	linux  = schema.Platform{OS: "linux", Arch: "amd64"}
	anchor = []byte(`{"signed":{"_type":"root"}}`)
)

const settings = `{"schema":1,"fleet":"example","package":"bakehouse-agent","version":"0.1.0","server":"https://bakehouse.example",
"interval":"1h","proxy":{"mode":"none"},"threshold":1,"certificates":[],` +
	`"keys":[{"name":"ci","public":"-----BEGIN PUBLIC KEY-----\n` +
	`MCowBQYDK2VwAyEACpWPfLV87m8DTxVwf5zaOQ7k1gvGWOrd8q9PMtOCgLw=\n-----END PUBLIC KEY-----\n"}]}`

// example is a recipe of two plugins: the updater with its host program, and an exporter whose options vary.
func example(r repo, id, listen string) *rules.Recipe {
	return &rules.Recipe{ID: schema.RecipeID(id), Platform: linux, Outputs: []*fleet.Output{
		{Plugin: "node_exporter", Files: []fleet.File{
			own("/etc/default/node_exporter", 0o640, "ARGS=--web.listen-address="+listen+"\n"),
			r.file("/usr/bin/node_exporter", 0o755, noise(1, 100_000)),
			r.file("/usr/share/doc/node_exporter/README", 0o644, []byte("An exporter.\n")),
		}, Services: []fleet.Service{{Name: "node_exporter", Exec: "/usr/bin/node_exporter $ARGS",
			EnvironmentFile: "/etc/default/node_exporter", Restart: "on-failure", Enable: true}},
			Health: &schema.HealthCheck{Command: []string{"/usr/bin/node_exporter", "--version"}, Within: 1e9}},
		{Plugin: "updater", Files: []fleet.File{
			own(schema.ConfigFile("linux"), 0o600, settings),
			own(schema.AnchorFile("linux"), 0o644, string(anchor)),
			r.program("/usr/bin/bakehouse-agent", noise(2, 30_000)),
		}, Services: []fleet.Service{{Name: "bakehouse-agent", Exec: "/usr/bin/bakehouse-agent run", Restart: "always", Enable: true}}},
	}}
}

const someID = "0123456789abcdef"

var formats = []schema.Format{schema.Deb, schema.Rpm, schema.Tgz, schema.Pkg}

// made is a copy of a recipe for a platform that has the format.
func made(r *rules.Recipe, format schema.Format) *rules.Recipe {
	c := *r
	if format == schema.Pkg {
		c.Platform = solaris
	}
	return &c
}

// noise is bytes that compress by about a half, always the same for a seed.
func noise(seed uint64, n int) []byte {
	g := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32()) & 0x0f
	}
	return b
}

// baked bakes with a new Baker, as another process would.
func baked(t testing.TB, st bake.Store, src bake.Sources, r *rules.Recipe, format schema.Format) *bake.Baked {
	t.Helper()
	b := bake.New(st, src)
	defer b.Close()
	out, err := b.Bake(t.Context(), r, format, schema.DigestOf(anchor))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// assembled is the package's bytes, put together from the store as a host does it.
func assembled(t tb, st bake.Store, b *bake.Baked) []byte {
	t.Helper()
	m, err := schema.DecodeManifest(b.Packed, b.Digest)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out bytes.Buffer
	if err := m.Assemble(&out, func(ref schema.SegmentRef) (io.ReadCloser, error) {
		return st.Open(context.Background(), schema.SegmentKey(ref.Digest))
	}); err != nil {
		t.Fatalf("%v", err)
	}
	return out.Bytes()
}

// bake1 bakes and assembles in one go, for property tests.
func bake1(t tb, st bake.Store, src bake.Sources, r *rules.Recipe, format schema.Format) []byte {
	t.Helper()
	b := bake.New(st, src)
	defer b.Close()
	out, err := b.Bake(context.Background(), r, format, schema.DigestOf(anchor))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return assembled(t, st, out)
}
