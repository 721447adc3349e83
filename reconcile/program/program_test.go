package program_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/program"
	"bakehouse/reconcile/upgrade"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// memory is a store in memory.
type memory map[string][]byte

func (m memory) Open(_ context.Context, key string) (io.ReadCloser, error) {
	b, ok := m[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m memory) Create(_ context.Context, key string, r io.Reader) error {
	if _, ok := m[key]; ok {
		return fs.ErrExist
	}
	b, err := io.ReadAll(r)
	m[key] = b
	return err
}

var amd64 = schema.Platform{OS: "linux", Arch: "amd64"}

// alone keeps a test from the machine's cache and from this very checkout.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Chdir(t.TempDir())
}

// checkout copies the small stand-in for Bakehouse's source to a folder of its own.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(testdata)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// testdata is absolute, since tests leave the folder; the build's cache stays the user's, or each test compiles Go's
// runtime.
var testdata, goCache = func() (string, string) {
	dir, err := filepath.Abs("testdata/checkout")
	if err != nil {
		panic(err)
	}
	cache := os.Getenv("GOCACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			panic(err)
		}
		cache = filepath.Join(user, "go-build")
	}
	return dir, cache
}()

func folder(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bakehouse-agent-linux-amd64"), []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func pins(content string) *fleet.Fleet {
	return &fleet.Fleet{Programs: map[schema.Platform]fleet.Program{
		amd64: {Version: "1.2.3", SHA256: schema.DigestOf([]byte(content))}}}
}

func open(t *testing.T, p program.Places, st program.Store, f *fleet.Fleet, platform schema.Platform) (string, error) {
	t.Helper()
	r, err := p.Sources(t.Context(), st, fstest.MapFS{}, f).Open(fleet.File{Program: true, Size: -1}, platform)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

func TestAPinnedProgramIsTakenFromTheFolderAndThenFromTheStore(t *testing.T) {
	alone(t)
	st := memory{}
	for _, p := range []program.Places{{Dir: folder(t, "ELF")}, {Dir: t.TempDir()}} {
		if got, err := open(t, p, st, pins("ELF"), amd64); err != nil || got != "ELF" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, ok := st[schema.SourceFileKey(schema.DigestOf([]byte("ELF")))]; !ok {
		t.Error("the store does not have it")
	}
}

func TestAProgramThatIsNotThePinnedOneIsRefused(t *testing.T) {
	alone(t)
	st := memory{}
	_, err := open(t, program.Places{Dir: folder(t, "other")}, st, pins("ELF"), amd64)
	if !fault.IsRefusal(err) || !strings.Contains(fault.HintOf(err), "bakehouse upgrade") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if len(st) != 0 {
		t.Error("the store took it")
	}
}

func TestAProgramAlteredInTheStoreIsRefusedAlthoughTheFolderHasTheRightOne(t *testing.T) {
	alone(t)
	st := memory{schema.SourceFileKey(schema.DigestOf([]byte("ELF"))): []byte("root kit")}
	if _, err := open(t, program.Places{Dir: folder(t, "ELF")}, st, pins("ELF"), amd64); !fault.IsRefusal(err) {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatIsNowhereSaysWhatToDo(t *testing.T) {
	alone(t)
	_, err := open(t, program.Places{}, memory{}, pins("ELF"), amd64)
	if err == nil || fault.IsRefusal(err) || !strings.Contains(fault.HintOf(err), "bakehouse-agent-linux-amd64") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	_, err = open(t, program.Places{}, memory{}, pins("ELF"), schema.Platform{OS: "linux", Arch: "arm64"})
	if err == nil || !strings.Contains(fault.HintOf(err), "bakehouse upgrade --platform linux/arm64") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func TestAFileOfTheRepoIsOpenedFromTheRepo(t *testing.T) {
	src := program.Places{}.Sources(t.Context(), memory{}, fstest.MapFS{"plugins/a/bin": {Data: []byte("x")}},
		&fleet.Fleet{})
	r, err := src.Open(fleet.File{Repo: "plugins/a/bin"}, amd64)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestTheSameSourceBuildsTheSameBytesWhereverItIsAndWhateverTheEnvironment(t *testing.T) {
	alone(t)
	t.Setenv("GOCACHE", goCache)
	ctx := t.Context()
	fleetRepo := repo(t, "package acme\n\nname: \"acme\"\n")
	a, b := checkout(t), checkout(t)
	first, err := upgrade.Upgrade(ctx, fleetRepo, program.Places{Source: a}, "1.2.3", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || first[0].Platform != amd64 || (first[0].Old != fleet.Program{}) ||
		first[0].New.Version != "1.2.3" {
		t.Fatalf("changes: %v", first)
	}
	t.Setenv("GOFLAGS", "-ldflags=-X=main.version=evil")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("CGO_ENABLED", "1")
	second, err := upgrade.Upgrade(ctx, fleetRepo, program.Places{Source: filepath.Join(b, "agent", "cmd")}, "1.2.3", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range second {
		if c.Old != c.New || c.New != first[i].New {
			t.Errorf("%s; was %s", c, first[i])
		}
	}
	// And what was pinned is found again, by building it with the pinned version.
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f := &fleet.Fleet{Programs: map[schema.Platform]fleet.Program{amd64: first[0].New}}
	got, err := open(t, program.Places{Source: a}, memory{}, f, amd64)
	if err != nil || schema.DigestOf([]byte(got)) != first[0].New.SHA256 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if !strings.Contains(got, "1.2.3") {
		t.Error("the program does not carry its version")
	}
	// Another source is not what was pinned.
	main := filepath.Join(b, "agent", "cmd", "bakehouse-agent", "main.go")
	if err := os.WriteFile(main, []byte("package main\n\nvar version string\n\nfunc main() { println(version, 2) }\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := open(t, program.Places{Source: b}, memory{}, f, amd64); !fault.IsRefusal(err) ||
		!strings.Contains(fault.HintOf(err), "bakehouse upgrade") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
}

func repo(t *testing.T, cue string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.cue"), []byte(cue), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
