package evaluate

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
)

// dir is a directory of CUE files, parsed.
type dir struct {
	path  string // in the repo; "." for the top
	pkg   string
	files []source
}

// source is one file. Each context parses it anew, because building annotates the syntax tree.
type source struct {
	name   string // as in positions
	data   []byte
	clause fleet.Pos
}

// builtins are the packages that may be imported: those of CUE that depend on their arguments only.
var builtins = []string{"crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512", "encoding/base64",
	"encoding/csv", "encoding/hex", "encoding/json", "encoding/toml", "encoding/yaml", "html", "list", "math",
	"math/bits", "net", "path", "regexp", "strconv", "strings", "struct", "text/tabwriter", "text/template", "time",
	"uuid"}

// isCUE reports whether cue itself would take the file into a package.
func isCUE(name string) bool {
	return strings.HasSuffix(name, ".cue") && name[0] != '_' && name[0] != '.' &&
		!strings.HasSuffix(name, "_tool.cue") && !strings.HasSuffix(name, "_test.cue")
}

// readDir parses the CUE files among entries, which are those of the directory name. It is nil if there are none.
func readDir(fsys fs.FS, name string, entries []fs.DirEntry, l limits) (*dir, fleet.Problems) {
	var ps fleet.Problems
	d := &dir{path: name}
	lists := map[string]fleet.Pos{}
	for _, e := range entries {
		if e.IsDir() || !isCUE(e.Name()) {
			continue
		}
		file := path.Join(name, e.Name())
		if !e.Type().IsRegular() {
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: file}, Msg: "is not a regular file", Hint: "symbolic links are not followed: put the file itself here"})
			continue
		}
		data, err := readFile(fsys, file, l.File)
		if err != nil {
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: file}, Msg: err.Error()})
			continue
		}
		if sourcefile.IsPointer(data) {
			ps = append(ps, pointerProblem(fleet.Pos{File: file}))
			continue
		}
		s, found := checkSource(file, data)
		ps = append(ps, found...)
		if len(found) > 0 {
			continue
		}
		if d.pkg != "" && s.pkg != d.pkg {
			ps = append(ps, fleet.Problem{Pos: s.clause, Msg: fmt.Sprintf("package %s, but other files of this folder say package %s", s.pkg, d.pkg),
				Hint: "a folder is one package", Also: []fleet.Pos{d.files[0].clause}})
			continue
		}
		for _, l := range s.lists {
			if first, ok := lists[l.plugin]; ok {
				ps = append(ps, fleet.Problem{Pos: l.pos, Msg: fmt.Sprintf("rules for %s stand in more than one list, which CUE merges rule by rule", l.plugin),
					Hint: "put the rules of a plugin into one list for each folder", Also: []fleet.Pos{first}})
			}
			lists[l.plugin] = l.pos
		}
		d.pkg = s.pkg
		d.files = append(d.files, s.source)
	}
	if len(d.files) == 0 {
		return nil, ps
	}
	return d, ps
}

type checked struct {
	source
	pkg   string
	lists []ruleList
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

// checkSource refuses what plain evaluation would let through or what would make cue see another file than we do.
func checkSource(name string, data []byte) (checked, fleet.Problems) {
	var c checked
	f, err := parse(name, data)
	if err != nil {
		return c, problemsOf(err, cue.Value{})
	}
	var ps fleet.Problems
	for _, decl := range f.Preamble() {
		if a, ok := decl.(*ast.Attribute); ok {
			ps = append(ps, fleet.Problem{Pos: posOf(a.Pos()), Msg: fmt.Sprintf("the file attribute %.60s is not supported", a.Text),
				Hint: "what a file says may not depend on how it is loaded: remove it"})
		}
	}
	c.pkg = f.PackageName()
	if c.pkg == "" || c.pkg == "_" {
		return c, append(ps, fleet.Problem{Pos: fleet.Pos{File: name, Line: 1, Col: 1}, Msg: "no package clause",
			Hint: fmt.Sprintf("start the file with `package %s`", clauseFor(name))})
	}
	for _, decl := range f.Decls {
		if p, ok := decl.(*ast.Package); ok {
			c.clause = posOf(p.Name.Pos())
		}
	}
	for spec := range f.ImportSpecs() {
		imported, _, _ := strings.Cut(strings.Trim(spec.Path.Value, `"#`), ":")
		if !slices.Contains(builtins, imported) {
			ps = append(ps, fleet.Problem{Pos: posOf(spec.Path.Pos()), Msg: fmt.Sprintf("import of %s: only CUE's own packages can be imported", spec.Path.Value),
				Hint: fleet.Nearest("did you mean %q?", imported, builtins)})
		}
	}
	c.source.name, c.data, c.lists = name, data, ruleLists(f.Decls)
	return c, ps
}

func parse(name string, data []byte) (*ast.File, error) {
	return parser.ParseFile(name, data, parser.ParseComments, parser.AllErrors)
}

// clauseFor is a package name for the folder of that file.
func clauseFor(name string) string {
	base := path.Base(path.Dir(name))
	if base == "." {
		return "fleet"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, base)
}

// readFile reads a whole file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, sourcefile.Plain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, sourcefile.Plain(err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes, at most %d are read", info.Size(), limit)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, sourcefile.Plain(err)
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b.Bytes(), nil
}
