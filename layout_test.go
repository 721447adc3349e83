package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// module is the import path of this module; every rule below is stated relative to it.
const module = "bakehouse"

// pkg is what `go list` says of one package.
type pkg struct {
	ImportPath   string
	ForTest      string // the package under test, if this one is compiled for a test
	Standard     bool
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string // direct, tests excluded
	Deps         []string // everything linked, direct or not
}

// A graph is what `go list` found, by import path.
type graph map[string]pkg

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

// list runs `go list -deps -json` without cgo, as everything is built.
func list(t *testing.T, env []string, args ...string) graph {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps",
		"-json=ImportPath,ForTest,Standard,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps"}, args...)...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, &stderr)
	}
	found := graph{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list %v: %v", args, err)
		}
		found[p.ImportPath] = p
	}
	return found
}

// A ban says what a program or package may not link, directly or through others.
type ban struct {
	of     string // import path below the module
	tests  bool   // its tests may not link it either
	banned string // an import path with all below it; one without a dot in its first element is below the module
	why    string
}

func (b ban) path() string {
	if first, _, _ := strings.Cut(b.banned, "/"); strings.Contains(first, ".") || b.banned == "html/template" {
		return b.banned
	}
	return module + "/" + b.banned
}

const (
	noCUE    = "it works on finished values, so that it is tested without an evaluator and runs in parallel"
	noFlags  = "its functions return values; flags, tables and JSON are reconcile/command's"
	noTests  = "it is for tests, and has no place in a program"
	wireOnly = "a site asks its upstream by it: it knows the protocol, and neither a host nor what is verified"
	hostOnly = "agent/cmd/bakehouse-agent"
)

// bans run as root on every monitored host or keep an idea apart from the tools around it.
var bans = []ban{
	{hostOnly, false, "cuelang.org/go", "an evaluator (17 MB) has no place where only finished values arrive"},
	{hostOnly, false, "github.com/go-git", "a host never reads a repo"},
	{hostOnly, false, "go.yaml.in/yaml", "baked config and state are two fixed files, not a search for settings"},
	{hostOnly, false, "html/template", "it renders no pages, and the package keeps every exported method alive in the " +
		"linker"},
	{hostOnly, false, "github.com/klauspost/compress", "its compressors are for baking; the standard library inflates"},
	{hostOnly, false, "modernc.org/sqlite", "the host's state is one JSON file; the inventory is the server's"},
	{hostOnly, false, "modernc.org/libc", "comes with sqlite only"},
	{hostOnly, false, "github.com/jackc", "PostgreSQL is the servers'"},
	{hostOnly, false, "reconcile", "what signs packages must not be on a host"},
	{hostOnly, false, "serve", "a host serves nothing"},
	{hostOnly, false, "schema/fleet", "the fleet's model is evaluated before anything reaches a host"},
	{hostOnly, false, "github.com/sigstore/sigstore/pkg/signature/kms", "a host holds no signing keys"},
	{hostOnly, false, "testing", noTests},
	{"agent/wire", false, "agent/state", wireOnly},
	{"agent/wire", false, "agent/trust", wireOnly},
	{"agent/wire", false, "github.com", wireOnly},

	{"reconcile/keys", true, "cuelang.org/go", noCUE},
	{"reconcile/keys", false, "github.com/spf13/cobra", noFlags},
	{"reconcile/keys", true, "reconcile/roots",
		"a private half signs what it is given, and knows nothing of who may sign what"},
	{"reconcile/roots", true, "cuelang.org/go", noCUE},
	{"reconcile/roots", false, "github.com/spf13/cobra", noFlags},
	{"reconcile/roots", true, "serve/store",
		"the chain is read from the repo alone: a store's copy is for whoever compares"},
	{"reconcile/publish", true, "cuelang.org/go", noCUE},

	{"reconcile/rules", true, "cuelang.org/go", noCUE},
	{"reconcile/plan", true, "cuelang.org/go", noCUE},
	{"reconcile/services", true, "cuelang.org/go", noCUE},
	{"reconcile/bake", true, "cuelang.org/go", noCUE},
	{"reconcile/program", false, "cuelang.org/go", noCUE},
	{"schema/fleet", true, "cuelang.org/go", noCUE},
	{"reconcile", false, "github.com/spf13/cobra", noFlags},
	{"serve/store", false, "github.com/spf13/cobra", noFlags},
	{"reconcile/program", false, "github.com/spf13/cobra", noFlags},

	{".", false, "testing", noTests},
	{".", false, "examples/internal", "it boots machines as root for tests"},
	{".", false, "reconcile/scripttest", noTests},
	{".", false, "reconcile/keys/keystest", noTests},
	{".", false, "schema/needs", noTests},
	{".", false, "agent/trust/trusttest", "it signs what nobody should believe, with keys that everybody knows"},
	{hostOnly, false, "agent/trust/trusttest", "as for the program of operators"},
	{hostOnly, false, "schema/needs", noTests},
	{hostOnly, false, "agent/trust/tufclient", noTests},
	{hostOnly, false, "google.golang.org/protobuf", "its reflection is 1.9 MB, for names of algorithms"},
}

// check returns what of g breaks the ban.
func (b ban) check(g graph) []string {
	var broken []string
	root := strings.TrimSuffix(module+"/"+b.of, "/.")
	for name, p := range g {
		if strings.TrimSuffix(name, ".test") != root && name != root && (p.ForTest != root || !b.tests) {
			continue
		}
		if strings.HasSuffix(name, ".test") && !b.tests {
			continue
		}
		for _, dep := range p.Deps {
			if dep, _, _ = strings.Cut(dep, " "); within(dep, b.path()) || b.banned == "testing" && dep == "testing" {
				broken = append(broken, fmt.Sprintf("%s links %s: %s", name, dep, b.why))
			}
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func TestNobodyLinksWhatIsBanned(t *testing.T) {
	everything := list(t, nil, "-test", "./...")
	graphs := map[string]graph{"": everything}
	for _, arch := range []string{"amd64", "arm64"} {
		graphs["linux/"+arch] = list(t, []string{"GOOS=linux", "GOARCH=" + arch}, "./"+hostOnly)
	}
	for _, b := range bans {
		seen := false
		for on, g := range graphs {
			_, ok := g[strings.TrimSuffix(module+"/"+b.of, "/.")]
			seen = seen || ok
			for _, what := range b.check(g) {
				t.Error(strings.TrimSpace(on + " " + what))
			}
		}
		if !seen {
			t.Errorf("there is no package %s any more: drop the ban or name its new place", b.of)
		}
	}
}

// A ban that cannot fail protects nothing, as one that looked at direct imports alone once did.
func TestEachBanFailsWhereItIsBroken(t *testing.T) {
	for _, b := range bans {
		root := strings.TrimSuffix(module+"/"+b.of, "/.")
		below := b.path()
		if b.banned == "testing" {
			below = "testing"
		}
		through := graph{root: {ImportPath: root, Deps: []string{"fmt", module + "/between", below}}}
		if len(b.check(through)) == 0 {
			t.Errorf("%s could link %s unseen", b.of, b.banned)
		}
		if len(b.check(graph{root: {ImportPath: root, Deps: []string{"fmt"}}})) != 0 {
			t.Errorf("%s breaks the ban of %s without linking it", b.of, b.banned)
		}
		if b.tests && len(b.check(graph{root + ".test": {ImportPath: root + ".test", Deps: []string{below + "/x"}}})) == 0 {
			t.Errorf("the tests of %s could link %s unseen", b.of, b.banned)
		}
	}
}

func TestTheSharedFormatsNeedOnlyTheStandardLibrary(t *testing.T) {
	const why = "the host program links it, and a wire format must not move with a dependency"
	shared := []string{"schema", "schema/delta", "schema/tree", "schema/durable", "schema/fault", "schema/fleet",
		"schema/plain", "schema/keeps", "schema/window"}
	var patterns, ours []string
	for _, name := range shared {
		patterns, ours = append(patterns, "./"+name), append(ours, module+"/"+name)
	}
	for name, p := range list(t, nil, patterns...) {
		if !p.Standard && !slices.Contains(ours, name) {
			t.Errorf("one of %v links %s: %s", shared, name, why)
		}
	}
}

func TestPartsMeetOnlyInTheLeavesMadeForIt(t *testing.T) {
	parts := []string{"reconcile", "serve", "agent"}
	// The only doors between parts; everything else that two of them need belongs to schema.
	doors := map[[2]string]string{
		{"reconcile", module + "/serve/store"}:        "reconcile pushes what it baked to the store",
		{"reconcile", module + "/serve/store/stores"}: "reconcile opens the store that it is given",
		{"reconcile", module + "/serve/store/bundle"}: "a difference between stores is carried by those who publish",
		{"reconcile", module + "/serve/store/storetest/s3test"}: "scripts publish " +
			"to an S3 server",
		{"reconcile", module + "/serve/store/maintain"}:  "gc and fsck are commands of those who publish",
		{"reconcile", module + "/agent/trust"}:           "reconcile believes published metadata as little as a host does",
		{"reconcile", module + "/agent/trust/statement"}: "reconcile signs what hosts verify, and checks it as they do",
		{"reconcile", module + "/agent/trust/bins"}:      "reconcile writes bins in the form that hosts verify",
		{"reconcile", module + "/agent/trust/quorum"}:    "reconcile asks of a root who may sign, as a host does",
		{"serve", module + "/agent/trust"}: "serve reads a release only through the verifier: there is no " +
			"second parser of bins",
		{"serve", module + "/agent/trust/quorum"}:          "a bundle is signed by those who may sign the timestamp",
		{"serve", module + "/agent/trust/statement"}:       "serve shows who signed a package, as hosts see it",
		{"serve", module + "/agent/wire"}:                  "a site asks its upstream as a host asks its server",
		{"serve", module + "/reconcile/settings"}:          "serve says which of its flags are settings",
		{"examples", module + "/agent/trust/trusttest"}:    "load signs a large fleet that nobody bakes",
		{"examples", module + "/serve/store"}:              "load publishes it",
		{"examples", module + "/serve/store/stores"}:       "load opens the store for that",
		{"examples", module + "/serve/inventory"}:          "load writes registrations of its hosts",
		{"examples", module + "/serve/inventory/transfer"}: "load writes them into the file that servers import",
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
			case to == "" || to == from || to == "schema" || doors[[2]string{from, imported}] != "":
			case from == "schema":
				t.Errorf("%s imports %s: schema stands below the parts that speak it", name, imported)
			case from == "examples":
				t.Errorf("%s imports %s: examples are configuration, the program knows them and not the reverse", name,
					imported)
			case to == "examples" && from == "reconcile":
				// init and demo hand the embedded examples out.
			default:
				t.Errorf("%s imports %s: only %v cross between the parts", name, imported, doors)
			}
		}
		for _, other := range parts {
			if root := module + "/" + other; from != other && slices.Contains(p.Deps, root) {
				t.Errorf("%s links %s: reconcile, serve and agent never import one another's root, not through a leaf either",
					name, root)
			}
		}
	}
	for door := range doors {
		if _, ok := packages[door[1]]; !ok {
			t.Errorf("there is no package %s any more: drop it from the doors", door[1])
		}
	}
}

// passOrder are the rooms of a pass, from the command to what everybody stands on: each links only those behind it.
// They are as many as a reader has to visit to follow a commit to its timestamp.
var passOrder = []string{
	"reconcile", "reconcile/judge", "reconcile/rebuild", "reconcile/accept", "reconcile/batch", "reconcile/desired",
	"reconcile/program", "reconcile/source", "reconcile/publish", "reconcile/roots", "reconcile/keys",
	"reconcile/plan", "reconcile/contents",
	"reconcile/evaluate", "reconcile/bake", "reconcile/rules", "reconcile/services", "reconcile/console",
}

func TestAPassGoesOneWayThroughAtMost18Rooms(t *testing.T) {
	room := func(importPath string) (string, int) {
		rest, _ := strings.CutPrefix(importPath, module+"/")
		if part(importPath) != "reconcile" {
			return "", -1
		}
		parts := strings.SplitN(rest, "/", 3)
		name := strings.Join(parts[:min(len(parts), 2)], "/")
		return name, slices.Index(passOrder, name)
	}
	rooms := map[string]bool{}
	for name, p := range list(t, nil, "./reconcile") {
		from, at := room(name)
		if from == "" {
			continue
		}
		rooms[from] = true
		if at < 0 {
			t.Errorf("a pass goes through %s, which is not in passOrder", from)
		}
		for _, imported := range p.Imports {
			if to, below := room(imported); to != "" && to != from && below < at {
				t.Errorf("%s imports %s, which comes before it", name, imported)
			}
		}
	}
	if len(rooms) > 18 {
		t.Errorf("a pass goes through %d rooms", len(rooms))
	}
	for _, name := range passOrder {
		if !rooms[name] {
			t.Errorf("a pass does not go through %s any more", name)
		}
	}
}

// The page that newcomers read names each room and, for each invariant, a test.
func TestTheArchitecturePageNamesWhatIsThere(t *testing.T) {
	b, err := os.ReadFile(".github/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name := range list(t, nil, "./...") {
		room, ours := strings.CutPrefix(name, module+"/")
		switch {
		case !ours || strings.Contains("/"+room+"/", "/internal/") || strings.Contains(page, "`"+room+"`"):
		case strings.HasSuffix(room, "test") || within(room, "schema/needs"), room == "examples/scale", room == "examples/load":
			// for tests and measurements alone
		default:
			t.Errorf("%s is not in the table of rooms", room)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\|").FindAllStringSubmatch(page, -1) {
		if fi, err := os.Stat(row[1]); err != nil || !fi.IsDir() {
			t.Errorf("there is no room %s", row[1])
		}
	}
	tests := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			tests[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`Test\w+`).FindAllString(page, -1)
	if len(named) == 0 {
		t.Error("no invariant names its test")
	}
	for _, name := range named {
		if !tests[name] {
			t.Errorf("there is no test %s", name)
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
