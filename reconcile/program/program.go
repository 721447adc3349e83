// Package program finds the host programs that a fleet pins, and writes the pins.
//
// A fleet repo names, per platform, the version and SHA-256 of bakehouse-agent (programs.cue). Packages carry exactly
// those bytes, so whoever reviews the pin knows what will run as root. The bytes come from, in this order:
//
//	the store        files/xx/HEX, put there by the first run that had them
//	--programs DIR   a folder of files bakehouse-agent-OS-ARCH; by default "programs" beside this executable
//	the user's cache what an earlier run built
//	--source DIR     a checkout of Bakehouse (by default the one around the working directory), cross-compiled so that
//	                 the same source and Go release make the same bytes anywhere
//
// Whatever they come from, they are refused unless they have the pinned digest. `bakehouse upgrade` pins what the same
// places hold today; it only writes programs.cue, so that an upgrade is a commit like any other.
//
// Sources opens whatever else packages are made of: files of the repo; what a URL has, which is fetched when it is
// first packed and comes from the store ever after (files/xx/HEX); and files inside archives of either, each taken out
// once per pass, into private files without a name. What a URL yields is used if it has the digest that the plugin
// pins, and refused otherwise, archives as a whole: nobody knows the digest of a member before.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Store keeps the programs that were found. Create fails with fs.ErrExist, Open with fs.ErrNotExist.
type Store interface {
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	Create(ctx context.Context, key string, r io.Reader) error
}

// Places is where programs are looked for besides the store. The zero value is the defaults.
type Places struct {
	Dir    string // folder of finished programs; empty: "programs" beside the executable, if there is one
	Source string // source checkout; empty: the one around the working directory, if it is one
	// Progress is where it writes a line on what it builds or fetches, which may take a minute; nil: nowhere.
	Progress func() io.Writer
}

// Lines keeps lines apart that are written to w at once, for Places.Progress.
func Lines(w func() io.Writer) func() io.Writer {
	var mu sync.Mutex
	return func() io.Writer { return lineWriter{&mu, w()} }
}

// lineWriter keeps lines apart that are written at once.
type lineWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lineWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Sources opens what packages are made of: files of the repo or of pinned URLs, and the host programs that f pins.
func (p Places) Sources(ctx context.Context, st Store, repo fs.FS, f *fleet.Fleet) *Sources {
	return &Sources{ctx: ctx, places: p, store: st, most: maxFetched, repo: sourcefile.New(repo), pins: f.Programs,
		found: map[schema.Platform]*find{}, urls: map[schema.Digest]*find{},
		members: map[schema.Digest]*member{}, archives: map[schema.Digest]*fetchedArchive{},
		wholes: map[schema.Digest]*whole{}}
}

// Sources implements bake.Sources. It is safe for concurrent use if the repo's FS is. Close it after use.
type Sources struct {
	ctx    context.Context // of the pass that it was made for
	places Places
	store  Store
	repo   *sourcefile.Repo
	most   int64 // bytes that are fetched from one URL
	pins   map[schema.Platform]fleet.Program
	mu     sync.Mutex
	found  map[schema.Platform]*find
	urls   map[schema.Digest]*find

	members  map[schema.Digest]*member // by File.SHA256
	archives map[schema.Digest]*fetchedArchive
	wholes   map[schema.Digest]*whole // by File.Repo
}

type find struct {
	mu   sync.Mutex
	done bool
}

// Open opens a file whose Shared is true.
func (s *Sources) Open(f fleet.File, p schema.Platform) (io.ReadCloser, error) {
	switch {
	case f.Member != "":
		return s.member(f)
	case f.URL != "":
		return s.fetched(f)
	case !f.Program:
		return s.repo.Open(f.Repo)
	}
	pin, ok := s.pins[p]
	if !ok {
		return nil, fault.Hint(fmt.Errorf("no host program is pinned for %s", p),
			"run `bakehouse upgrade --platform %s` and commit programs.cue", p)
	}
	s.mu.Lock()
	g := s.found[p]
	if g == nil {
		g = &find{}
		s.found[p] = g
	}
	s.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.done {
		if err := s.places.ensure(s.ctx, s.store, p, pin); err != nil {
			return nil, fmt.Errorf("host program %s for %s: %w", pin.Version, p, err)
		}
		g.done = true
	}
	return s.store.Open(s.ctx, schema.SourceFileKey(pin.SHA256))
}

// ensure puts the pinned program into the store unless it is there.
func (p Places) ensure(ctx context.Context, st Store, platform schema.Platform, pin fleet.Program) error {
	if there, err := stored(ctx, st, pin.SHA256); there || err != nil {
		return err
	}
	b, err := p.pinned(ctx, platform, pin)
	if err != nil {
		return err
	}
	err = st.Create(ctx, schema.SourceFileKey(pin.SHA256), bytes.NewReader(b))
	if errors.Is(err, fs.ErrExist) {
		_, err = stored(ctx, st, pin.SHA256)
	}
	return err
}

// stored reports whether the store has the program, and refuses it if it is altered.
func stored(ctx context.Context, st Store, want schema.Digest) (bool, error) {
	r, err := st.Open(ctx, schema.SourceFileKey(want))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	b, err := readProgram(r)
	if err != nil {
		return false, err
	}
	if got := schema.DigestOf(b); got != want {
		return false, fault.Refuse(&schema.AlteredError{Object: "host program in the store", Want: want, Got: got},
			"nothing is built on a store that changed; `bakehouse store fsck` lists what is wrong in it")
	}
	return true, nil
}

// maxProgram bounds a host program, in bytes; ours is to be under 10 MB.
const maxProgram = 256 << 20

func readProgram(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxProgram+1))
	if err == nil && len(b) > maxProgram {
		err = fmt.Errorf("a host program of more than %d bytes", maxProgram)
	}
	return b, err
}

// pinned returns the pinned bytes from the first place that has them.
func (p Places) pinned(ctx context.Context, platform schema.Platform, pin fleet.Program) ([]byte, error) {
	var others []string // what was found instead
	fits := func(b []byte, where string) bool {
		got := schema.DigestOf(b)
		if got != pin.SHA256 {
			others = append(others, where+" has "+got.String())
		}
		return got == pin.SHA256
	}
	b, path, err := p.fromFolder(platform)
	if err == nil && fits(b, path) {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cache := cachePath(pin.SHA256)
	if b, err := readFile(cache); err == nil && schema.DigestOf(b) == pin.SHA256 {
		return b, nil
	}
	checkout, err := p.checkout()
	switch {
	case err == nil:
		b, err := p.build(ctx, checkout, platform, pin.Version)
		if err != nil {
			return nil, err
		}
		if fits(b, "a build of "+checkout) {
			keep(cache, b)
			return b, nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if len(others) > 0 {
		return nil, fault.Refuse(fmt.Errorf("%s is pinned, but %s", pin.SHA256, strings.Join(others, " and ")),
			"use the Bakehouse release that was pinned, or pin this one: `bakehouse upgrade --platform %s`, then commit "+
				"programs.cue", platform)
	}
	return nil, fault.Hint(errors.New("is neither in the store nor on this machine"),
		"%s; or put it into the directory %s as %s", sourceHint(), p.folder(), fileName(platform))
}

// fileName is what a program is called in a folder of programs.
func fileName(p schema.Platform) string {
	name := "bakehouse-agent-" + p.OS + "-" + p.Arch
	if p.OS == "windows" {
		name += ".exe"
	}
	return name
}

// folder is the folder of finished programs, which need not exist.
func (p Places) folder() string {
	if p.Dir != "" {
		return p.Dir
	}
	exe, err := os.Executable()
	if err != nil {
		return "programs"
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		exe = real
	}
	return filepath.Join(filepath.Dir(exe), "programs")
}

func (p Places) fromFolder(platform schema.Platform) (b []byte, path string, err error) {
	path = filepath.Join(p.folder(), fileName(platform))
	b, err = readFile(path)
	return b, path, err
}

func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, fs.ErrNotExist
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readProgram(f)
}

// cachePath is where a built program is kept, or empty if the user has no cache.
func cachePath(d schema.Digest) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bakehouse", "programs", d.Hex())
}

// keep is a best effort: without a cache, the program is built again.
func keep(path string, b []byte) {
	if path != "" && durable.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = durable.WriteFile(path, b, 0o600)
	}
}
