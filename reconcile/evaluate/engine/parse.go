package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"

	"bakehouse/reconcile/evaluate/engine/data"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// dir is the files of a directory that can be parsed and are of one package.
type dir struct {
	path  string // in the repo; "." for the top
	pkg   string
	files []file
	parts parts // how many to evaluate
}

// file is one of them. Each context parses it again, because building annotates the syntax tree.
type file struct {
	result.File
	clause fleet.Pos
	syntax *ast.File // for whoever only reads it
}

// builtins are the packages that may be imported: those of CUE that depend on their arguments only.
var builtins = []string{"crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512", "encoding/base64",
	"encoding/csv", "encoding/hex", "encoding/json", "encoding/toml", "encoding/yaml", "html", "list", "math",
	"math/bits", "net", "path", "regexp", "strconv", "strings", "struct", "text/tabwriter", "text/template", "time",
	"uuid"}

// parseDir parses the files of a directory.
func parseDir(src *result.Source) (*dir, fleet.Problems) {
	var ps fleet.Problems
	d := &dir{path: src.Path, parts: parts{keep: src.Parts}}
	lists := map[string]fleet.Pos{}
	for _, f := range src.Files {
		s, found := check(f)
		ps = append(ps, found...)
		if len(found) > 0 {
			continue
		}
		ps = append(ps, s.modes...)
		if d.pkg != "" && s.pkg != d.pkg {
			ps = append(ps, fleet.Problem{Pos: s.clause,
				Msg:  fmt.Sprintf("package %s, but other files of this folder say package %s", s.pkg, d.pkg),
				Hint: "a folder is one package", Also: []fleet.Pos{d.files[0].clause}})
			continue
		}
		for _, l := range s.lists {
			if first, ok := lists[l.plugin]; ok {
				ps = append(ps, fleet.Problem{Pos: l.pos,
					Msg:  fmt.Sprintf("rules for %s stand in more than one list, which CUE merges rule by rule", l.plugin),
					Hint: "put the rules of a plugin into one list for each folder", Also: []fleet.Pos{first}})
			}
			lists[l.plugin] = l.pos
		}
		d.pkg = s.pkg
		d.files = append(d.files, s.file)
	}
	return d, ps
}

// folder is what the published schema asks of a folder of hosts.
var folder = sync.OnceValue(func() *data.Form { return data.FormOf(schemaFiles, result.FolderDefinition) })

// data is what the directory says, if it is a folder of one file that is plain data, with at most most values.
func (d *dir) data(definition string, most int) *result.Node {
	if len(d.files) != 1 || d.parts.keep > 0 || definition != result.FolderDefinition {
		return nil
	}
	return folder().Read(d.files[0].syntax, most, posOf)
}

type checked struct {
	file
	pkg   string
	lists []ruleList
	modes fleet.Problems // of files, written in decimal
}

// ruleList is where a file writes a list of rules.
type ruleList struct {
	plugin string
	pos    fleet.Pos
}

// ruleLists finds the lists of rules that stand directly under `rules`.
func ruleLists(decls []ast.Decl) (lists []ruleList) {
	fields := func(decls []ast.Decl, use func(string, *ast.Field)) {
		for _, d := range decls {
			if f, ok := d.(*ast.Field); ok {
				if name, _, err := ast.LabelName(f.Label); err == nil {
					use(name, f)
				}
			}
		}
	}
	fields(decls, func(name string, f *ast.Field) {
		if st, ok := f.Value.(*ast.StructLit); ok && name == "rules" {
			fields(st.Elts, func(plugin string, f *ast.Field) {
				if _, ok := f.Value.(*ast.ListLit); ok {
					lists = append(lists, ruleList{plugin, posOf(f.Label.Pos())})
				}
			})
		}
	})
	return lists
}

// check refuses what plain evaluation would let through or what would make cue see another file than we do.
func check(from result.File) (checked, fleet.Problems) {
	c := checked{file: file{File: from}}
	name := from.Name
	if ps := encoding(from); ps != nil {
		return c, ps
	}
	f, err := parse(name, from.Data)
	if err != nil {
		return c, unparsed(from, problemsOf(err, cue.Value{}))
	}
	var ps fleet.Problems
	for _, decl := range f.Preamble() {
		if a, ok := decl.(*ast.Attribute); ok {
			ps = append(ps, fleet.Problem{Pos: posOf(a.Pos()),
				Msg:  fmt.Sprintf("the file attribute %.60s is not supported", a.Text),
				Hint: "what a file says may not depend on how it is loaded: remove it"})
		}
	}
	c.pkg = f.PackageName()
	if c.pkg == "" || c.pkg == "_" {
		missing := fleet.Problems{{Pos: fleet.Pos{File: name, Line: 1, Col: 1}, Msg: "no package clause",
			Hint: fmt.Sprintf("start the file with `package %s`", result.PackageFor(name))}}
		if len(f.Decls) == 0 {
			missing[0].Msg = "the file is empty"
		}
		return c, append(ps, unparsed(from, missing)...) // some YAML is CUE by chance
	}
	for _, decl := range f.Decls {
		if p, ok := decl.(*ast.Package); ok {
			c.clause = posOf(p.Name.Pos())
		}
	}
	for spec := range f.ImportSpecs() {
		imported, _, _ := strings.Cut(strings.Trim(spec.Path.Value, `"#`), ":")
		if !slices.Contains(builtins, imported) {
			ps = append(ps, fleet.Problem{Pos: posOf(spec.Path.Pos()),
				Msg:  fmt.Sprintf("import of %s: only CUE's own packages can be imported", spec.Path.Value),
				Hint: fleet.Nearest("did you mean %q?", imported, builtins)})
		}
	}
	c.syntax = f
	c.lists, c.modes = ruleLists(f.Decls), decimalModes(f)
	return c, ps
}

func parse(name string, data []byte) (*ast.File, error) {
	return parser.ParseFile(name, data, parser.ParseComments, parser.AllErrors)
}
