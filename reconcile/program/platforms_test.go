package program

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// The compiler's front end alone says what does not compile elsewhere, in a tenth of the time that thirteen builds from
// an empty cache take: the library is parsed once, and only the bodies of our own functions are looked at.
func TestTheHostProgramTypeChecksForEveryPlatform(t *testing.T) {
	c := &checker{fset: token.NewFileSet(), parsed: map[string]*ast.File{}}
	seen := map[string]bool{}
	for _, p := range Known {
		// One processor of each system tells most of what differs. The type checker has one goroutine throughout, so
		// that the race detector sees nothing that another platform would change.
		if seen[p.OS] && !needs.Everything() || seen["linux"] && needs.Race {
			continue
		}
		seen[p.OS] = true
		t.Run(p.String(), func(t *testing.T) { c.check(t, p) })
	}
}

// Real builds of what differs most from Linux, for which TestTheHostProgramKeepsToItsBudgetAndIsStatic builds in any
// case.
func TestHostProgramsCrossCompileToTheSameBytesTwice(t *testing.T) {
	needs.All(t, "builds host programs for other platforms, which takes minutes from an empty cache")
	magic := map[string]string{"aix/ppc64": "\x01\xf7", "solaris/amd64": "\x7fELF\x02"}
	for _, p := range Known {
		want, ok := magic[p.String()]
		if !ok {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			var programs [2][]byte
			for i, source := range []string{"../..", checkoutElsewhere(t)} {
				b, err := Places{}.build(t.Context(), source, p, "1.0.0")
				if err != nil {
					t.Fatal(err)
				}
				programs[i] = b
			}
			if !strings.HasPrefix(string(programs[0]), want) {
				t.Errorf("it begins with %q, not %q", programs[0][:4], want)
			}
			if !bytes.Equal(programs[0], programs[1]) {
				t.Errorf("%s here and %s from a checkout elsewhere", schema.DigestOf(programs[0]), schema.DigestOf(programs[1]))
			}
			if n := len(programs[0]); n > mostElsewhere {
				t.Errorf("%d bytes, %d too many", n, n-mostElsewhere)
			}
		})
	}
}

// checkoutElsewhere copies the part of this checkout that host programs are built from.
func checkoutElsewhere(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"agent", "schema"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("../..", part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checker type-checks programs, parsing each file once for all platforms.
type checker struct {
	fset   *token.FileSet
	parsed map[string]*ast.File
}

func (c *checker) check(t *testing.T, p schema.Platform) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap",
		"-tags=nethttpomithttp2", "./agent/cmd/bakehouse-agent")
	cmd.Dir = "../.."
	cmd.Env = buildEnv(os.Environ(), p)
	out := needs.Go(t, cmd)
	done := map[string]*types.Package{"unsafe": types.Unsafe}
	// A package comes after all that it imports.
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath, Dir string
			GoFiles         []string
			ImportMap       map[string]string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if pkg.ImportPath == "unsafe" {
			continue
		}
		ours := strings.HasPrefix(pkg.ImportPath, "bakehouse/")
		if ours { // or the cache of test results does not see that a file was added
			if _, err := os.ReadDir(pkg.Dir); err != nil {
				t.Fatal(err)
			}
		}
		var files []*ast.File
		for _, name := range pkg.GoFiles {
			f, err := c.parse(filepath.Join(pkg.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		config := types.Config{
			Sizes:            types.SizesFor("gc", p.Arch),
			IgnoreFuncBodies: !ours,
			Importer: importer(func(path string) (*types.Package, error) {
				if to := pkg.ImportMap[path]; to != "" {
					path = to
				}
				if done[path] == nil {
					return nil, fmt.Errorf("no package %s", path)
				}
				return done[path], nil
			}),
			Error: func(err error) { t.Error(err) },
		}
		done[pkg.ImportPath], _ = config.Check(pkg.ImportPath, c.fset, files, nil)
	}
	if done["bakehouse/agent/install"] == nil {
		t.Error("the program was not among what was checked")
	}
}

func (c *checker) parse(path string) (*ast.File, error) {
	f, ok := c.parsed[path]
	if ok {
		return f, nil
	}
	f, err := parser.ParseFile(c.fset, path, nil, parser.SkipObjectResolution)
	c.parsed[path] = f
	return f, err
}

type importer func(string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
