package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// Records that may only fall. A package that is named nowhere keeps the common limit.
const (
	maxLines  = 2500 // of a package, tests apart: what a reader holds in the head
	maxColumn = 120  // of a line, a tab being four
	maxCircle = 4    // files of one package that refer to each other in a circle
)

// roomsFile has a line for each package that exceeds a limit: what, package, number.
const roomsFile = ".ci/rooms.txt"

// rooms measures every package of the module: its lines, its longest circle of files, its lines that are too long.
func rooms(t *testing.T) map[string]int {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo |
			packages.NeedImports | packages.NeedExportFile,
	}, "./...") // with cgo or without it, as it is built already
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	note := func(what, pkg string, n, limit int) {
		if n > limit {
			found[what+" "+pkg] = n
		}
	}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			t.Fatal(p.Errors)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.PkgPath, module), "/")
		if name == "" {
			name = "."
		}
		lines := 0
		for _, file := range p.GoFiles {
			n, _ := measure(t, file)
			lines += n
		}
		long := 0
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			_, n := measure(t, file)
			long += n
		}
		note("lines", name, lines, maxLines)
		note("long", name, long, 0)
		note("circle", name, largestCircle(p), maxCircle)
	}
	return found
}

// measure counts the lines of a file and those that are too long.
func measure(t *testing.T, file string) (lines, long int) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines++
		if len([]rune(strings.ReplaceAll(s.Text(), "\t", "    "))) > maxColumn {
			long++
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return lines, long
}

// largestCircle is the number of files in the largest set of p's files that all reach each other by references to
// package-level declarations, methods and fields.
func largestCircle(p *packages.Package) int {
	fileOf := func(n ast.Node) string { return p.Fset.Position(n.Pos()).Filename }
	refers := map[string]map[string]bool{}
	for _, file := range p.Syntax {
		from := fileOf(file)
		refers[from] = map[string]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			obj := p.TypesInfo.Uses[id]
			if obj == nil || obj.Pkg() != p.Types || obj.Pos() == 0 {
				return true
			}
			if _, isVar := obj.(*types.Var); isVar && obj.Parent() != p.Types.Scope() && !obj.(*types.Var).IsField() {
				return true
			}
			if to := p.Fset.Position(obj.Pos()).Filename; to != from {
				refers[from][to] = true
			}
			return true
		})
	}
	largest := 0
	for _, circle := range circles(refers) {
		largest = max(largest, len(circle))
	}
	return largest
}

// circles are the strongly connected components of a graph with more than one node (Tarjan).
func circles(refers map[string]map[string]bool) (found [][]string) {
	index, low, onStack := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	var visit func(v string)
	visit = func(v string) {
		index[v], low[v] = len(index)+1, len(index)+1
		stack, onStack[v] = append(stack, v), true
		for _, w := range slices.Sorted(maps.Keys(refers[v])) {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if onStack[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		circle := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, w := range circle {
			onStack[w] = false
		}
		if len(circle) > 1 {
			found = append(found, circle)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(refers)) {
		if index[v] == 0 {
			visit(v)
		}
	}
	return found
}

func TestCirclesAreFound(t *testing.T) {
	got := circles(map[string]map[string]bool{
		"a": {"b": true}, "b": {"c": true}, "c": {"a": true, "d": true}, "d": {"e": true}, "e": {"d": true}, "f": {"a": true},
	})
	var sizes []int
	for _, c := range got {
		sizes = append(sizes, len(c))
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{2, 3}) {
		t.Errorf("circles %v", got)
	}
}

// What exceeds a limit is recorded with its number, which may only fall: `go test -run Rooms -update .` writes it down.
func TestRoomsOnlyGetTidier(t *testing.T) {
	found := rooms(t)
	recorded := map[string]int{}
	b, err := os.ReadFile(roomsFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var what, name string
		var n int
		if _, err := fmt.Sscan(line, &what, &name, &n); err != nil {
			t.Fatalf("%s: %q: %v", roomsFile, line, err)
		}
		recorded[what+" "+name] = n
	}
	for key, n := range found {
		if old, known := recorded[key]; (!known || n > old) && (!*update || known) {
			t.Errorf("%s: %d, recorded %d: the numbers of %s only fall", key, n, old, roomsFile)
		} else if n < old && !*update && !strings.HasPrefix(key, "lines ") {
			t.Errorf("%s: %d, recorded %d: write the better number down with -update", key, n, old)
		}
	}
	for key := range recorded {
		if _, there := found[key]; !there && !*update {
			t.Errorf("%s is within its limit now: write that down with -update", key)
		}
	}
	if !*update || t.Failed() {
		return
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(found)) {
		n := found[key]
		if strings.HasPrefix(key, "lines ") {
			n = recorded[key] // a ceiling: a named exception may not grow beyond it
		}
		fmt.Fprintf(&text, "%s %d\n", key, n)
	}
	if err := os.WriteFile(roomsFile, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
