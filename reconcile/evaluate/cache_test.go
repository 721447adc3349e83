package evaluate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// told is all that can be seen of a fleet, or its problems.
func told(t *testing.T, f *Repo, err error) string {
	t.Helper()
	var ps fleet.Problems
	if errors.As(err, &ps) {
		return ps.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// aCache is a cache and the directory that it is in.
type aCache struct {
	*cache.Cache
	dir string
}

func newCache(t *testing.T) aCache {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return aCache{c, dir}
}

// seen is what tests of this package have evaluated: the shipped plugins and what every repo has are alike in most.
var seen = cache.InMemory()

// sameAgain loads fsys as it was loaded before out of what is kept of it, and without any cache. Every test of Load
// goes through here. The race detector, under which evaluation takes ten times as long, has nothing to see in the
// latter: whoever evaluates has one goroutine.
func sameAgain(t *testing.T, fsys fs.FS, want string) {
	t.Helper()
	caches := map[string]*cache.Cache{"from the cache": seen}
	if !needs.Race {
		caches["without a cache"] = nil
	}
	for how, c := range caches {
		f, err := Load(t.Context(), fsys, c)
		if got := told(t, f, err); got != want {
			t.Errorf("%s, Load yields\n%s\ninstead of\n%s", how, got, want)
		}
	}
}

// entries are the files of the cache that hold something.
func (c aCache) entries(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(c.dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "trimmed" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestADamagedOrForgedEntryOfTheCacheCountsAsAbsent(t *testing.T) {
	fsys := repo(map[string]string{
		"hosts/web/h.cue": "package web\nhosts: web02: {labels: a: \"b\", set: updater: interval: \"1h\"}\n"})
	// all is the fleet, and what a plugin yields for it.
	all := func(c *cache.Cache) string {
		t.Helper()
		f, err := Load(t.Context(), fsys, c)
		text := told(t, f, err)
		out, err := outputOf(t, f, "files", `files: "/x": content: "x"`)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		return text + string(b)
	}
	want := all(nil)
	c := newCache(t)
	all(c.Cache)
	names := c.entries(t)
	if len(names) < 4 {
		t.Fatalf("only %d entries for the top and three folders", len(names))
	}
	was := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		was[name] = b
	}
	next := func(name string) []byte { return was[names[(slices.Index(names, name)+1)%len(names)]] }
	for what, damage := range map[string]func(name string, b []byte) []byte{
		"a flipped bit":    func(_ string, b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"cut short":        func(_ string, b []byte) []byte { return b[:len(b)-3] },
		"empty":            func(string, []byte) []byte { return nil },
		"bytes appended":   func(_ string, b []byte) []byte { return append(b, 0) },
		"that of another":  func(name string, _ []byte) []byte { return next(name) },
		"the digest of it": func(name string, b []byte) []byte { return append(b[:32:32], next(name)[32:]...) },
		"a digest as before": func(name string, _ []byte) []byte {
			d := sha256.Sum256(next(name)[32:])
			return append(d[:], next(name)[32:]...)
		},
	} {
		for _, name := range names {
			if err := os.WriteFile(name, damage(name, bytes.Clone(was[name])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := all(c.Cache); got != want {
			t.Errorf("%s: got\n%s\ninstead of\n%s", what, got, want)
		}
	}
}

// counting counts what is evaluated.
type counting struct {
	Engine
	mu    sync.Mutex
	asked []string
}

func (c *counting) note(what, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, what+" "+path)
}

func (c *counting) Directory(ctx context.Context, src *result.Source) (*result.Directory, error) {
	c.note("directory", src.Path)
	return c.Engine.Directory(ctx, src)
}

func (c *counting) Check(ctx context.Context, src *result.Source, info fleet.Info, name string,
	v fleet.Value) (fleet.Problems, error) {
	c.note("check", src.Path)
	return c.Engine.Check(ctx, src, info, name, v)
}

func (c *counting) Evaluate(ctx context.Context, src *result.Source, in fleet.Inputs,
	params map[string]fleet.Value) (*result.Node, error) {
	c.note("evaluate", src.Path)
	return c.Engine.Evaluate(ctx, src, in, params)
}

func TestASecondRunEvaluatesNothing(t *testing.T) {
	c := newCache(t)
	fsys := repo(map[string]string{"hosts/web/h.cue": "package web\nhosts: web02: set: updater: interval: \"1h\"\n"})
	var first []*fleet.Output
	for run := range 2 {
		e := &counting{Engine: engine.New(engine.DefaultLimits)}
		f, err := load(t.Context(), fsys, c.Cache, e)
		if err != nil {
			t.Fatal(err)
		}
		in := fleet.Inputs{Platform: amd64, Host: map[string]string{}, Fleet: f.Info(amd64)}
		out, err := f.Output(t.Context(), fleet.UpdaterPlugin, in, nil)
		if err != nil {
			t.Fatal(err)
		}
		set, err := f.Settings(t.Context(), fleet.UpdaterPlugin, in, nil)
		if err != nil || string(set["interval"].JSON) != `"1h"` {
			t.Errorf("settings %v, %v", set, err)
		}
		switch first = append(first, out); run {
		case 0:
			for _, want := range []string{"directory .", "directory hosts/web", "check bakehouse:plugins/updater",
				"evaluate bakehouse:plugins/updater"} {
				if !slices.Contains(e.asked, want) {
					t.Errorf("the first run evaluates %q, but not %s", e.asked, want)
				}
			}
		case 1:
			if len(e.asked) > 0 {
				t.Errorf("the second run evaluates %q", e.asked)
			}
			if !reflect.DeepEqual(first[0], first[1]) {
				t.Errorf("it yields\n%+v instead of\n%+v", first[1], first[0])
			}
		}
	}
}

func TestWhatAPluginYieldsIsKeptForTheSameInputsOnly(t *testing.T) {
	c := newCache(t)
	plugin := "package p\nplugin: {\n\thost: name: string\n\tfleet: name: string\n\tplatform: {os: string, arch: " +
		"string}\n\tparams: a: string | *\"\"\n" +
		"\tfiles: \"/x\": content: strings.Join([host.name, fleet.name, platform.arch, params.a], \" \")\n}\n"
	fsys := repo(map[string]string{"hosts/r.cue": "package hosts\nrules: p: [{value: {}}]\n",
		"plugins/p/plugin.cue": strings.Replace(plugin, "\n", "\nimport \"strings\"\n", 1)})
	f, err := Load(t.Context(), fsys, c.Cache)
	if err != nil {
		t.Fatal(err)
	}
	arm64 := schema.Platform{OS: "linux", Arch: "arm64"}
	for range 2 {
		for want, in := range map[string]struct {
			host, fleet string
			platform    schema.Platform
			params      string
		}{
			"h f amd64 ":  {"h", "f", amd64, ""},
			"g f amd64 ":  {"g", "f", amd64, ""},
			"h e amd64 ":  {"h", "e", amd64, ""},
			"h f arm64 ":  {"h", "f", arm64, ""},
			"h f amd64 b": {"h", "f", amd64, `a: "b"`},
		} {
			out, err := f.Output(t.Context(), "p", fleet.Inputs{Platform: in.platform, Host: map[string]string{"name": in.host},
				Fleet: fleet.Info{Name: in.fleet}}, given(t, in.params))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(out.Files[0].Content); got != want {
				t.Errorf("%+v yields %q", in, got)
			}
		}
	}
}

func TestAChangedFileIsNotTakenFromTheCache(t *testing.T) {
	c := newCache(t)
	for _, label := range []string{"one", "two", "one"} {
		f, err := Load(t.Context(), repo(map[string]string{"hosts/web/h.cue": "package web\nhosts: web02: labels: a: \"" +
			label + "\"\n"}), c.Cache)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Hosts[1].Labels["a"]; got != label {
			t.Errorf("the label is %s, the file says %s", got, label)
		}
	}
}

func TestAFileMovedToAnotherFolderIsNotTakenFromTheCache(t *testing.T) {
	c := newCache(t)
	for _, folder := range []string{"web", "db"} {
		f, err := Load(t.Context(), repo(map[string]string{"hosts/" + folder +
			"/h.cue": "package hosts1\nhosts: web02: {}\n"}), c.Cache)
		if err != nil {
			t.Fatal(err)
		}
		if h := f.Hosts[1]; h.Folder.Path != folder || h.Pos.File != "hosts/"+folder+"/h.cue" {
			t.Errorf("the host is in %q at %s", h.Folder.Path, h.Pos)
		}
	}
}

func TestWhatDoesNotEvaluateIsNotKept(t *testing.T) {
	c := newCache(t)
	for range 2 {
		e := &counting{Engine: engine.New(engine.DefaultLimits)}
		_, err := load(t.Context(), repo(map[string]string{
			"hosts/web/h.cue": "package web\nhosts: web02: labels: a: 1 & 2\n",
			"hosts/db/r.cue":  "package db\nrules: files: [{value: files: 3}]\n"}), c.Cache, e)
		if err == nil {
			t.Fatal("a conflict loads")
		}
		if !slices.Contains(e.asked, "directory hosts/web") || !slices.Contains(e.asked, "check bakehouse:plugins/files") {
			t.Errorf("only %q is evaluated", e.asked)
		}
	}
}
