package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is the import path of this module; every rule below is stated relative to it.
const module = "bakehouse"

// pkg is what `go list` says of one package.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string // direct, tests excluded
	Deps       []string // everything linked, direct or not
}

// part is the top-level folder of a package of this module: "reconcile" for bakehouse/reconcile/bake, "" for others.
func part(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

// within reports whether an import path is prefix or lies below it.
func within(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}

// list runs `go list -deps -json` without cgo, as everything is built, and returns the packages by import path.
func list(t *testing.T, env []string, patterns ...string) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports,Deps"}, patterns...)...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", patterns, err, &stderr)
	}
	found := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list %v: %v", patterns, err)
		}
		found[p.ImportPath] = p
	}
	return found
}

func TestTheHostProgramNeverLinksWhatOnlyServersNeed(t *testing.T) {
	// It runs as root on every monitored host: each ban keeps it small and its attack surface what it must be.
	bans := map[string]string{
		"cuelang.org/go":                                 "an evaluator (17 MB) has no place where only finished values arrive",
		"github.com/go-git":                              "a host never reads a repo",
		"github.com/spf13/viper":                         "baked config and state are two fixed files, not a search for settings",
		"html/template":                                  "it renders no pages, and the package keeps every exported method alive in the linker",
		"github.com/klauspost/compress":                  "its compressors are for baking; the standard library inflates",
		"modernc.org/sqlite":                             "the host's state is one JSON file; the inventory is the server's",
		"modernc.org/libc":                               "comes with sqlite only",
		module + "/reconcile":                            "what signs packages must not be on a host",
		module + "/serve":                                "a host serves nothing",
		module + "/schema/fleet":                         "the fleet's model is evaluated before anything reaches a host",
		"github.com/sigstore/sigstore/pkg/signature/kms": "a host holds no signing keys",
	}
	for _, arch := range []string{"amd64", "arm64"} {
		for name := range list(t, []string{"GOOS=linux", "GOARCH=" + arch}, "./agent/cmd/bakehouse-agent") {
			for banned, why := range bans {
				if within(name, banned) {
					t.Errorf("agent/cmd/bakehouse-agent on linux/%s links %s: %s", arch, name, why)
				}
			}
		}
	}
}

func TestTheSharedFormatsNeedOnlyTheStandardLibrary(t *testing.T) {
	const why = "the host program links it, and a wire format must not move with a dependency"
	ours := []string{module + "/schema", module + "/schema/durable"}
	for name, p := range list(t, nil, "./schema", "./schema/durable") {
		if !p.Standard && !slices.Contains(ours, name) {
			t.Errorf("schema or schema/durable links %s: %s", name, why)
		}
	}
}

func TestPartsMeetOnlyInTheLeavesMadeForIt(t *testing.T) {
	parts := []string{"reconcile", "serve", "agent"}
	// The only doors between parts; everything else that two of them need belongs to schema.
	doors := map[[2]string]string{
		{"reconcile", module + "/serve/store"}: "reconcile pushes what it baked to the store",
		{"reconcile", module + "/agent/trust"}: "reconcile believes published metadata as little as a host does",
		{"serve", module + "/agent/trust"}:     "serve reads a release only through the verifier: there is no second parser of bins",
	}
	packages := list(t, nil, "./...")
	for name, p := range packages {
		from := part(name)
		if from == "" || p.Standard {
			continue
		}
		for _, imported := range p.Imports {
			to := part(imported)
			switch {
			case to == "" || to == from || to == "schema":
			case from == "schema":
				t.Errorf("%s imports %s: schema stands below the parts that speak it", name, imported)
			case from == "examples":
				t.Errorf("%s imports %s: examples are configuration, the program knows them and not the reverse", name, imported)
			case to == "examples" && from == "reconcile":
				// init and demo hand the embedded examples out.
			case doors[[2]string{from, imported}] != "":
			default:
				t.Errorf("%s imports %s: only %v cross between the parts", name, imported, doors)
			}
		}
		for _, other := range parts {
			if root := module + "/" + other; from != other && slices.Contains(p.Deps, root) {
				t.Errorf("%s links %s: reconcile, serve and agent never import one another's root, not through a leaf either", name, root)
			}
		}
	}
	for door := range doors {
		if _, ok := packages[door[1]]; !ok {
			t.Errorf("there is no package %s any more: drop it from the doors", door[1])
		}
	}
}

func TestRulesAreResolvedWithoutCUE(t *testing.T) {
	for name, p := range list(t, nil, "./reconcile/rules/...") {
		if !within(name, module+"/reconcile/rules") {
			continue
		}
		for _, imported := range p.Imports {
			if within(imported, "cuelang.org/go") {
				t.Errorf("%s imports %s: matching works on plain values, so that it can be tested against a naive matcher and run in parallel", name, imported)
			}
		}
	}
}

func TestTestingHelpersStayOutOfThePrograms(t *testing.T) {
	for name, p := range list(t, nil, "./...") {
		for _, imported := range p.Imports {
			if within(imported, module+"/examples/internal") && !within(name, module+"/examples/internal") {
				t.Errorf("%s imports %s: it boots machines as root for tests, and has no place in a program", name, imported)
			}
			if imported == module+"/reconcile/scripttest" {
				t.Errorf("%s imports %s: it is for scripts that test the program", name, imported)
			}
		}
	}
}

func TestNoOtherTopLevelCodeFolder(t *testing.T) {
	allowed := map[string]string{
		"schema":    "what crosses a boundary",
		"reconcile": "from a commit to signed packages",
		"serve":     "from the store to hosts and sites",
		"agent":     "on the host",
		"examples":  "config repos to copy",
	}
	code := []string{".go", ".cue", ".sh", ".py", ".js"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || allowed[e.Name()] != "" {
			continue
		}
		err := filepath.WalkDir(e.Name(), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && slices.Contains(code, filepath.Ext(path)) {
				t.Errorf("%s: code lives below one of the top-level folders that the flow has, not beside them", path)
				return fs.SkipAll
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNoPackageIsADrawer(t *testing.T) {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "lib", "pkg", "base", "types"}
	for name := range list(t, nil, "./...") {
		if part(name) == "" {
			continue
		}
		if slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool { return slices.Contains(drawers, s) }) {
			t.Errorf("%s: a package is named after its idea, or it becomes a drawer", name)
		}
	}
}
